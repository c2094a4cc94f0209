import Glibc

/// What happens on Ctrl-C.
///
/// Stores commit in one step and fetches name a file last, so a process may end anywhere: the handler
/// only says so and leaves with the status that a shell expects.
enum Interruption {
    /// Ends the process on SIGINT, SIGTERM and SIGHUP with 128 plus the signal's number.
    static func install() {
        // A reader that goes away is an error of write(2), not the end of a fetch.
        signal(SIGPIPE, SIG_IGN)
        unblock([SIGINT, SIGTERM, SIGHUP])
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { number in
                // Only calls that are safe in a signal handler: write and _exit.
                let text: StaticString =
                    "\ninterrupted: nothing is half done; run it again to go on\n"
                if number == SIGINT {
                    _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
                }
                _exit(128 + number)
            }
        }
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
