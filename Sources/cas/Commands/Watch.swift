import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASWire
import CASWorkspace
import Glibc
import Synchronization

/// `cas watch [DIR] --to REF`.
struct WatchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Push a directory whenever something in it is saved.",
        usage: "cas watch [OPTIONS] [DIR] [--to REF]",
        discussion: """
            Each push is one of cas push: only what is new is sent, the same files are left out, and \
            NAME@sha256:… is printed for each new snapshot. A push that fails is said and tried again; \
            Ctrl-C ends the watch. On file systems that other machines write to, and with --poll, the \
            directory is looked through every two seconds.

            EXAMPLES:
              cas watch --to team/project:dev
              cas watch src --to team/project:dev --expires 12h
              cas fetch --follow team/project:dev /work     in a pod: what is saved arrives there
            """)

    /// Seconds that the ref lives after the last push: seven days.
    private static let defaultLifetime: UInt64 = 7 * 86_400

    @Argument(help: ArgumentHelp("The directory to watch.", valueName: "dir"))
    var directory = "."

    @Option(help: ArgumentHelp("The ref to move.", valueName: "ref"))
    var to: String?

    @OptionGroup var selection: SelectionFlags

    @Flag(help: "Send more than the limit of new bytes (2 GiB, or the project file's).")
    var large = false

    @Flag(help: "Look through the directory every two seconds instead of waiting for events.")
    var poll = false

    @OptionGroup var expiry: ExpiryFlag
    @OptionGroup var storeFlags: StoreFlags

    func run() throws {
        let root = try Workspace.root(directory)
        let settings = try Settings.load(workspace: root)
        let target = try to.map { try Arguments.reference($0) }
        if let target { _ = try Arguments.refName(target) }
        let lock = try WatchLock.take(root, settings)
        defer { withExtendedLifetime(lock) {} }
        try storeFlags.withStore(host: target?.host, create: true, settings: settings) { store in
            let ref = try PushTarget.choose(target, root: root, store: store)
            try watch(root, ref, store)
        }
    }

    private func watch(
        _ root: String, _ ref: Setting<RefName>, _ store: StoreAccess
    ) throws {
        let lifetime = expiry.expires == nil ? Self.defaultLifetime : try expiry.lifetime()
        let signals = try Signals([SIGINT, SIGTERM, SIGHUP])
        let report = WatchReport(ref: ref, store: store, lifetime: lifetime)
        let (selection, large) = (selection, large)
        let watch = try CASClient.Watch(
            directory: root, isPolling: poll, connection: store.connection,
            options: {
                // Read anew: who edits cas.yaml expects it to count.
                let access = StoreAccess(
                    connection: store.connection, choice: store.choice,
                    settings: try Settings.load(workspace: root))
                var push = try WorkspacePush(
                    root: root, ref: ref, store: access, selection: selection)
                if large { push.options.newBytesLimit = .max }
                push.options.lifetime = lifetime
                return push.options
            }, onEvent: { report.tell($0) })
        Console.note(
            "watching \(root) for \(ref.value) in \(store.choice.text); Ctrl-C ends it")
        let outcome = Mutex<Result<Void, any Error>?>(nil)
        let thread = try WorkerThread(name: "watch") {
            let result = Result { try watch.run(renewMilliseconds: lifetime * 500) }
            outcome.withLock { $0 = result }
            signals.wakeUp(0)
        }
        while true {
            let bytes = signals.wait()
            if let result = outcome.withLock({ $0 }) {
                try thread.join()
                report.summarize()
                return try result.get()
            }
            guard !Signals.ending.isDisjoint(with: bytes) else { continue }
            report.summarize()
            // A push that is under way is whole or absent: there is nothing to wait for.
            _exit(0)
        }
    }
}

/// Keeps a second watch away from a directory.
enum WatchLock {
    static func take(_ root: String, _ settings: Settings) throws -> FileLock {
        let directory = FilePaths.join(settings.directories.cache.value, "watch")
        try DiskFileSystem().createDirectory(directory)
        let path = FilePaths.join(directory, Digest.of(Array(root.utf8)).hexadecimal)
        guard let lock = try FileLock(path: path) else {
            let text = try DiskFileSystem().read(path, maximumBytes: 64) ?? []
            let process = String(decoding: text, as: UTF8.self)
            throw CASError(
                .failedPrecondition,
                "another cas watch\(process.isEmpty ? "" : " (process \(process))") watches this directory",
                hint: "end it, or watch another directory", path: root)
        }
        try lock.write("\(getpid())")
        return lock
    }
}

/// What a watch tells: a name for each snapshot, and a line about each push.
private final class WatchReport: Sendable {
    private struct State {
        var pushes = 0
        var sentBytes: UInt64 = 0
        var secrets: Set<[UInt8]> = []
    }

    private let ref: Setting<RefName>
    private let store: StoreAccess
    private let state = Mutex(State())
    private let start = SystemClock().monotonicNanoseconds()

    private let lifetime: UInt64

    init(ref: Setting<RefName>, store: StoreAccess, lifetime: UInt64) {
        self.lifetime = lifetime
        self.ref = ref
        self.store = store
    }

    func tell(_ event: WatchEvent) {
        switch event {
        case .pushed(let summary, let nanoseconds, let isFirst):
            Console.data("\(ref.value.name)@\(summary.snapshot)")
            tell(summary, nanoseconds, isFirst: isFirst)
        case .tooLarge(let summary):
            PushReport(summary: summary, ref: ref, store: store, nanoseconds: 0)
                .writeNotes(.stopped)
        case .failed(let error, let retry):
            Console.failure(error)
            Console.note(
                retry.map { "trying again in \(duration(nanoseconds: $0 * 1_000_000))" }
                    ?? "the watch goes on; the next change is pushed")
        case .recovered: Console.note("pushing works again")
        case .polling(let reason): Console.note(WatchReport.text(reason))
        }
    }

    private func tell(_ summary: PushSummary, _ nanoseconds: UInt64, isFirst: Bool) {
        let isNews = state.withLock { state in
            state.pushes += summary.response?.outcome == .unchanged ? 0 : 1
            state.sentBytes += summary.sentBytes
            var found: Set<[UInt8]> = []
            for case .secret(let path) in summary.scan.findings { found.insert(path) }
            defer { state.secrets.formUnion(found) }
            return !found.subtracting(state.secrets).isEmpty
        }
        if isFirst || isNews {
            PushReport(
                summary: summary, ref: ref, store: store, nanoseconds: nanoseconds,
                lifetime: isFirst ? lifetime : 0
            ).writeNotes(.done)
            return
        }
        Console.note(
            "\(SystemClock().now().iso8601) \(ref.value): \(counted(summary.newFiles, "new file")), "
                + "\(ByteCount.text(summary.sentBytes)) "
                + (store.connection.isLocal ? "written" : "sent")
                + " in \(duration(nanoseconds: nanoseconds))")
    }

    private static func text(_ reason: WorkspaceWatch.PollReason) -> String {
        let what = "looking through the directory every 2 s"
        switch reason {
        case .asked: return what
        case .sharedFileSystem: return "\(what): other machines may write there"
        case .noEvents: return "\(what): this system has no events of changes left"
        case .tooManyDirectories:
            let limit = FileEvents.limit.map { " (\(grouped($0)))" } ?? ""
            return
                "\(what): it has more directories than this user may watch\(limit); more are allowed by "
                + "sysctl fs.inotify.max_user_watches"
        }
    }

    func summarize() {
        let (pushes, bytes) = state.withLock { ($0.pushes, $0.sentBytes) }
        Console.note(
            "watched for \(duration(nanoseconds: SystemClock().monotonicNanoseconds() - start)): "
                + "\(counted(pushes, "snapshot")), \(ByteCount.text(bytes)) "
                + (store.connection.isLocal ? "written" : "sent"))
    }
}
