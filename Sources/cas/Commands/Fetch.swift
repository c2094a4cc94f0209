import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASImage

/// `cas fetch [REF] DEST`, `cas fetch --follow [REF] DEST [-- COMMAND]`.
struct FetchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fetch",
        abstract: "Bring a snapshot into a directory, or update it there.",
        usage: """
            cas fetch [OPTIONS] [REF] DEST
            cas fetch --follow [OPTIONS] [REF] DEST [-- COMMAND [ARGUMENT …]]
            """,
        discussion: """
            Every file is verified before it gets its name. A directory that was fetched before is updated \
            in place: files that you changed or added are never touched; where they are in the way the \
            fetch stops and names them. Without REF the ref is CAS_REF.

            With --follow it stays and brings every move of the ref: new files first, changed ones at once \
            each, what is gone last; files that you changed are named and kept. COMMAND is started in DEST \
            and started anew after each update (SIGTERM, ten seconds later SIGKILL); signals are passed on \
            to it, and its exit status is that of cas.

            EXAMPLES:
              cas fetch team/project /work
              CAS_REF=team/project cas fetch /work
              cas fetch team/project@sha256:… /work --cache /var/cache/cas
              cas fetch oci://registry.example/team/project:v1 /work    what cas copy put into a registry
              cas fetch team/project /work --force    overwrite changed files, and say which
              cas fetch --follow team/project:dev /work -- python serve.py
            """)

    @Argument(help: ArgumentHelp("A ref or digest; without DEST, the directory.", valueName: "ref"))
    var first: String?

    @Argument(help: ArgumentHelp("The directory.", valueName: "dest"))
    var second: String?

    @Argument(parsing: .postTerminator, help: "With --follow: the command to run in DEST.")
    var command: [String] = []

    @Flag(help: "Stay, and keep the directory as the ref says.")
    var follow = false

    @Flag(help: "Overwrite files that were changed or are in the way, and say which.")
    var force = false

    @Flag(help: "Leave files that were changed or are in the way as they are, and say which.")
    var keep = false

    @Flag(help: "Derive modes and times from the content instead of taking the snapshot's.")
    var reproducible = false

    @OptionGroup var cacheFlags: CacheFlags
    @OptionGroup var registries: RegistryFlags
    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        guard first != nil else {
            throw ValidationError("give REF and DEST, or DEST alone with CAS_REF set")
        }
        if follow, force {
            throw ValidationError(
                "--follow and --force exclude each other: what you changed is kept")
        }
        if follow, output.json { throw ValidationError("--follow and --json exclude each other") }
        if !follow, !command.isEmpty {
            throw ValidationError("a command needs --follow, or cas run --dir DEST REF -- COMMAND")
        }
        if force, keep { throw ValidationError("--force and --keep exclude each other") }
    }

    func run() throws {
        let settings = try Settings.load()
        guard let destination = second ?? first,
            let text = second == nil ? settings.reference?.value : first
        else {
            throw ValidationError("no REF is given, and CAS_REF is not set")
        }
        if CarrierCopy.isCarrier(text) {
            return try fetchCarried(text, into: destination, settings)
        }
        guard registries.plainHTTP.isEmpty, registries.platform == nil else {
            throw ValidationError("--plain-http and --platform are for oci:// and its registries")
        }
        let wanted = try Arguments.reference(text)
        try storeFlags.withStore(host: wanted.host, isPatient: true, settings: settings) { store in
            let path = try StoreChoice.absolute(destination)
            let cache = try cacheFlags.resolve(settings)
            if follow {
                let request = FetchRequest(
                    want: wanted.path, shown: text, destination: path, force: false, keep: true,
                    reproducible: reproducible, cache: cache)
                return try FollowRun(request, try Arguments.refName(wanted), command: command)
                    .run(store)
            }
            let result = try Runs.resolving(wanted, store.connection) { reference in
                var request = FetchRequest(
                    want: reference.path, shown: text, destination: path, force: force,
                    keep: keep, reproducible: reproducible, cache: cache)
                if case .digest(_, let name) = reference.target { request.name = name }
                return try request.run(store)
            }
            if output.json { Console.data(result.json) } else { Console.data(result.line) }
        }
    }
}

extension FetchCommand {
    /// Fetches what an image in a registry carries.
    private func fetchCarried(
        _ text: String, into destination: String, _ settings: Settings
    ) throws {
        guard !follow else {
            throw ValidationError("--follow needs a store; a registry tells nobody of moves")
        }
        guard storeFlags.server == nil, storeFlags.store == nil else {
            throw ValidationError("oci:// names a registry, so --server and --store are not for it")
        }
        let path = try StoreChoice.absolute(destination)
        let cache = try cacheFlags.resolve(settings)
        Interruption.leaves(.fetch)
        try CarrierCopy.open(text, registries, storeFlags, settings) { store, carried in
            let result = try FetchRequest(
                want: carried.digest.description, shown: text, destination: path, force: force,
                keep: keep, reproducible: reproducible, cache: cache
            ).run(store)
            if output.json { Console.data(result.json) } else { Console.data(result.line) }
        }
    }
}

/// Flags about the node cache.
struct CacheFlags: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Keep whole files here for later fetches on this machine.", valueName: "dir"))
    var cache: String?

    @Option(help: ArgumentHelp("How large the cache may grow (10GiB).", valueName: "bytes"))
    var cacheSize: String?

    @Flag(help: "Make read-only hard links into the cache instead of copies.")
    var link = false

    /// The cache that flags and settings name.
    struct Resolved {
        let directory: String?
        let limit: UInt64
        let link: Bool
    }

    func resolve(_ settings: Settings) throws -> Resolved {
        let size = try cacheSize.map { try Arguments.bytes($0) }
        let directory = settings.cache(flag: cache)
        if link, directory == nil {
            throw ValidationError("--link needs a cache: --cache DIR")
        }
        return Resolved(
            directory: try directory.map { try StoreChoice.absolute($0.value) },
            limit: settings.cacheSize(flag: size).value, link: link)
    }
}
