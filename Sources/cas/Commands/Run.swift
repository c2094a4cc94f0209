import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASTree
import Glibc

/// `cas run [REF] [--dir DIR] -- COMMAND`.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Fetch a snapshot into a managed directory and run a command there.",
        usage: "cas run [OPTIONS] [REF] -- COMMAND [ARGUMENT …]",
        discussion: """
            One directory for each tree, below $XDG_CACHE_HOME/cas/run, is kept for the next time. Files \
            of the snapshot that were changed there are restored. With --dir the directory is yours, as \
            with cas fetch: files that you changed are never touched, unless --force says so. Without REF the ref is CAS_REF. The \
            command takes the place of cas: its exit status and signals are its own.

            EXAMPLES:
              cas run team/project -- python train.py --epochs 3
              cas run team/project@sha256:… -- ./test.sh
              CAS_REF=team/project cas run --dir /work -- python train.py
            """)

    private static let waitMicroseconds: UInt32 = 100_000

    @Argument(help: ArgumentHelp("A ref or digest.", valueName: "ref"))
    var reference: String?

    @Argument(parsing: .postTerminator, help: "The command and its arguments.")
    var command: [String] = []

    @Option(
        help: ArgumentHelp("Fetch into this directory and run there.", valueName: "dir"))
    var dir: String?

    @Flag(help: "With --dir: overwrite files that were changed or are in the way, and say which.")
    var force = false

    @OptionGroup var cacheFlags: CacheFlags
    @OptionGroup var storeFlags: StoreFlags

    func validate() throws {
        if force, dir == nil {
            throw ValidationError("--force goes with --dir; a managed directory is always restored")
        }
        if command.isEmpty { throw ValidationError("no command is given; put it behind '--'") }
    }

    func run() throws {
        let settings = try Settings.load()
        guard let text = reference ?? settings.reference?.value else {
            throw ValidationError("no REF is given, and CAS_REF is not set")
        }
        let wanted = try Arguments.reference(text)
        let directory = try storeFlags.withStore(
            host: wanted.host, isPatient: true, settings: settings
        ) { store in
            if let dir {
                let directory = try StoreChoice.absolute(dir)
                let request = FetchRequest(
                    want: wanted.path, shown: text, destination: directory, force: force,
                    keep: false, reproducible: false, cache: try cacheFlags.resolve(settings))
                do { _ = try request.run(store) } catch var error as CASError {
                    // What fetch says of its own flags is of use to who runs it.
                    if let hint = error.hint, hint.hasPrefix("--force ") {
                        error.hint = "cas fetch \(text) \(dir): \(hint)"
                    }
                    throw error
                }
                return directory
            }
            return try fetchManaged(wanted, text, store, settings)
        }
        try execute(in: directory)
    }

    /// Fetches into the directory that is kept for the tree.
    private func fetchManaged(
        _ wanted: Reference, _ text: String, _ store: StoreAccess, _ settings: Settings
    ) throws -> String {
        let resolved = try StoreReader(store.connection).resolve(wanted)
        let parent = settings.directories.runDirectory
        let directory = FilePaths.join(parent, resolved.snapshot.tree.digest.hexadecimal)
        try DiskFileSystem().createDirectory(parent)
        // Two runs of one tree share the directory; the second waits until it is whole.
        let lock = try waitForLock(directory + ".lock")
        defer { withExtendedLifetime(lock) {} }
        let request = FetchRequest(
            want: "\(resolved.digest)", shown: text, destination: directory, force: true,
            keep: false, reproducible: false, cache: try cacheFlags.resolve(settings),
            isManaged: true)
        _ = try request.run(store)
        return directory
    }

    private func waitForLock(_ path: String) throws -> FileLock {
        var isTold = false
        while true {
            if let lock = try FileLock(path: path) { return lock }
            if !isTold { Console.note("waiting for another cas run of the same tree") }
            isTold = true
            usleep(Self.waitMicroseconds)
        }
    }

    /// Turns this process into the command; returns only by throwing.
    private func execute(in directory: String) throws {
        try SystemFailure.check("cannot enter the directory", path: directory) { chdir(directory) }
        Interruption.remove()
        Host.setOpenFileLimit(CASCommand.openFileLimit)
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        arguments.append(nil)
        execvp(command[0], &arguments)
        throw SystemFailure.error(errno, "cannot run '\(command[0])'")
    }
}
