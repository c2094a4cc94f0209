import Glibc
import Synchronization

/// What happens on Ctrl-C.
///
/// Stores commit in one step and fetches name a file last, so a process may end anywhere: the handler
/// only says what that means for the command, gives the terminal its echo back and leaves with the
/// status that a shell expects.
enum Interruption {
    /// What a command that is interrupted leaves behind.
    enum Work: UInt8 {
        /// Nothing: it only read.
        case reading
        /// What was sent, which a push finds again.
        case push
        /// Whole files in the destination.
        case fetch
        /// A job, which goes on.
        case run
        /// A job of which nobody knows whether the cluster took it.
        case submission
        /// Work on a store, which a server goes on with.
        case maintenance
        /// Nothing: a file gets its name once it is whole.
        case export
    }

    private static let work = Atomic<UInt8>(Work.reading.rawValue)
    /// The bits of a pointer to the settings that the terminal gets back; zero for none.
    private static let terminal = Atomic<UInt>(0)
    /// The bits of a pointer to the path of a file that goes with the process; zero for none.
    private static let unfinished = Atomic<UInt>(0)

    /// Ends the process on SIGINT, SIGTERM and SIGHUP with 128 plus the signal's number.
    static func install() {
        // A reader that goes away is an error of write(2), not the end of a fetch.
        signal(SIGPIPE, SIG_IGN)
        unblock([SIGINT, SIGTERM, SIGHUP])
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { Interruption.end($0) }
        }
    }

    /// The handler: only calls that are safe in one, unlink, tcsetattr, write and _exit.
    private static func end(_ number: Int32) {
        if let path = UnsafePointer<CChar>(bitPattern: unfinished.load(ordering: .acquiring)) {
            unlink(path)
        }
        if let shown = UnsafePointer<termios>(bitPattern: terminal.load(ordering: .relaxed)) {
            tcsetattr(STDIN_FILENO, TCSANOW, shown)
        }
        if number == SIGINT {
            _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
        }
        _exit(128 + number)
    }

    private static var text: StaticString {
        switch work.load(ordering: .relaxed) {
        case Work.push.rawValue:
            "\ninterrupted: nothing is half pushed; run it again to go on\n"
        case Work.fetch.rawValue:
            "\ninterrupted: what was fetched stays; run it again to go on\n"
        case Work.submission.rawValue:
            "\ninterrupted: the job may be there; kubectl get shows it, and cas runs lists its run\n"
        case Work.maintenance.rawValue:
            "\ninterrupted: what was done stays; a server goes on by itself\n"
        case Work.export.rawValue: "\ninterrupted: no file was written\n"
        case Work.run.rawValue:
            "\ninterrupted: the job goes on; kubectl delete ends it\n"
        default: "\ninterrupted\n"
        }
    }

    /// Says what an interruption means from here on.
    static func leaves(_ kind: Work) { work.store(kind.rawValue, ordering: .relaxed) }

    /// Runs `body`; an interruption meanwhile removes the file of that path.
    static func removing<Result>(_ path: String, _ body: () throws -> Result) rethrows -> Result {
        // Never freed: the handler may be about to use it on another thread.
        let copy = strdup(path)
        unfinished.store(UInt(bitPattern: copy), ordering: .releasing)
        defer { unfinished.store(0, ordering: .releasing) }
        return try body()
    }

    /// Runs `body` while what is typed is not shown, and shows it again however `body` ends.
    static func hidingInput<Result>(_ body: () throws -> Result) rethrows -> Result {
        let shown = UnsafeMutablePointer<termios>.allocate(capacity: 1)
        defer { shown.deallocate() }
        shown.initialize(to: termios())
        guard tcgetattr(STDIN_FILENO, shown) == 0 else { return try body() }
        var hidden = shown.pointee
        hidden.c_lflag &= ~tcflag_t(ECHO)
        terminal.store(UInt(bitPattern: shown), ordering: .sequentiallyConsistent)
        // A stopped or aborted process would leave its terminal without an echo.
        signal(SIGTSTP, SIG_IGN)
        signal(SIGQUIT, SIG_IGN)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, shown)
            terminal.store(0, ordering: .sequentiallyConsistent)
            signal(SIGTSTP, SIG_DFL)
            signal(SIGQUIT, SIG_DFL)
        }
        return try body()
    }

    /// Lets signals through that whoever started this process had blocked in the thread that did it, as
    /// programs with worker threads do: Ctrl-C and the end of a pod would wait for ever.
    private static func unblock(_ numbers: [Int32]) {
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in numbers { sigaddset(&signals, number) }
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    }

    /// Gives all signals back their meaning, for a program that takes this process's place.
    static func remove() {
        for number in [SIGINT, SIGTERM, SIGHUP, SIGPIPE] { signal(number, SIG_DFL) }
    }
}
