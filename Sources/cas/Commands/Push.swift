import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASRepository
import CASWire
import CASWorkspace

/// `cas push [DIR] [--to REF]`.
struct PushCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push",
        abstract: "Push a directory to a ref; only what is new is sent.",
        usage: "cas push [OPTIONS] [DIR] [--to REF]",
        discussion: """
            Prints NAME@sha256:… of the snapshot. .gitignore files count as they do for git; .casignore \
            files, --exclude and --include are stronger, in this order. Without --to the ref is the \
            project file's (cas.yaml), else the first prefix that the token may write and the \
            directory's name, else USER/DIRECTORY.

            EXAMPLES:
              cas push
              cas push src --to team/project:v2 --message "smaller batches"
              cas push --exclude '*.ckpt' --include /data/labels.csv
              cas push --if-match sha256:…      only if nobody else moved the ref
              cas push --to team/try --expires 7d
              cas push --image-option prefix=/opt/app   where an image of it has the files
              cas push --dry-run                say what would be sent
            """)

    @Argument(help: ArgumentHelp("The directory to push.", valueName: "dir"))
    var directory = "."

    @Option(help: ArgumentHelp("The ref to move.", valueName: "ref"))
    var to: String?

    @OptionGroup var selection: SelectionFlags

    @Flag(help: "Send more than the limit of new bytes (2 GiB, or the project file's).")
    var large = false

    @Flag(help: "Say what would be sent, and send and change nothing.")
    var dryRun = false

    @Option(
        help: ArgumentHelp(
            "Only if the ref names this digest now; 'none': only if there is no such ref.",
            valueName: "digest"))
    var ifMatch: String?

    @Option(name: [.short, .long], help: "A line for the history.")
    var message = ""

    @OptionGroup var expiry: ExpiryFlag
    @OptionGroup var image: ImageOptionFlag

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let root = try Workspace.root(directory)
        let settings = try Settings.load(workspace: root)
        let target = try to.map { try Arguments.reference($0) }
        let precondition = try Arguments.precondition(ifMatch)
        let lifetime = try expiry.lifetime()
        let imageOptions = try image.text()
        if let target { _ = try Arguments.refName(target) }
        try storeFlags.withStore(
            host: target?.host, create: true, isDryRun: dryRun, isPatient: true, settings: settings
        ) {
            store in
            let ref = try PushTarget.choose(target, root: root, store: store)
            var push = try WorkspacePush(
                root: root, ref: ref, store: store, selection: selection, message: message)
            push.options.precondition = precondition
            push.options.lifetime = lifetime
            push.options.imageOptions = imageOptions
            push.options.isDryRun = dryRun
            if large { push.options.newBytesLimit = .max }
            try show(push)
        }
    }

    private func show(_ push: WorkspacePush) throws {
        let report = try push.run()
        let (ref, summary) = (push.ref, report.summary)
        let present = dryRun ? try check(push.options, summary, push.store) : nil
        if output.json {
            Console.data(dryRun ? report.json.with("current", .digest(present)) : report.json)
        } else if !dryRun {
            Console.data("\(ref.value.name)@\(summary.snapshot)")
        }
        report.writeNotes(dryRun ? .dryRun : .done)
        if !dryRun, let line = try image.note(ref.value) { Console.note(line) }
        guard dryRun else { return }
        Console.note(
            present.map {
                $0 == summary.snapshot
                    ? "\(ref.value) names this already: \($0)" : "\(ref.value) names \($0) now"
            } ?? "there is no \(ref.value) yet; a push would create it")
    }
}

extension PushCommand {
    /// What the ref names now; throws what the push would throw if that is not what `--if-match` wants.
    private func check(
        _ options: PushOptions, _ summary: PushSummary, _ store: StoreAccess
    ) throws -> Digest? {
        let entry = try store.connection.ref(options.ref)
        guard entry?.target.digest != summary.snapshot else { return summary.snapshot }
        let holds =
            switch options.precondition {
            case .any: true
            case .absent: entry == nil
            case .digest(let digest): entry?.target.digest == digest || entry?.tree == digest
            }
        guard holds else {
            throw options.precondition.failure(options.ref, present: entry?.target.digest)
        }
        return entry?.target.digest
    }
}

/// Flags that select files of a workspace.
struct SelectionFlags: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Push what matches, whatever leaves it out; can be repeated.", valueName: "pattern"))
    var include: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Leave out what matches; can be repeated.", valueName: "pattern"))
    var exclude: [String] = []

    /// Flags on top of the project file's patterns.
    func options(_ settings: Settings) -> ScanOptions {
        var options = ScanOptions(includes: include, excludes: exclude)
        options.project = settings.project.map {
            ProjectPatterns(path: $0.path, includes: $0.includes, excludes: $0.excludes)
        }
        return options
    }
}

/// The flag of commands that move a ref.
struct ExpiryFlag: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The ref goes away after this time, unless it is fetched: 12h, 7d.",
            valueName: "duration"))
    var expires: String?

    /// Seconds, zero for never; throws for what is no duration.
    func lifetime() throws -> UInt64 {
        try expires.map { UInt64(try Arguments.duration($0)) } ?? 0
    }

    /// What is said of a ref that was just moved; nil if it does not expire.
    static func note(_ ref: RefName, _ lifetime: UInt64) -> String? {
        guard lifetime > 0 else { return nil }
        return "\(ref) expires in \(DurationText.text(lifetime)); who fetches it keeps it"
    }
}

/// The flag of commands that may say what the image is like that a ref's snapshot is.
struct ImageOptionFlag: ParsableArguments {
    @Option(
        name: .customLong("image-option"),
        help: ArgumentHelp(
            "How an image of it is made: prefix=/opt/app, owner=1000:1000, platform=linux/arm64, "
                + "base=NAME@sha256:…; can be repeated. Stays with the ref; prefix=/ alone "
                + "gives the usual image.",
            valueName: "name=value"))
    var options: [String] = []

    /// The options in their one text; nil where the ref keeps what it says.
    func text() throws -> String? {
        options.isEmpty ? nil : try SnapshotImageOptions(options.joined(separator: "\n")).text
    }

    /// What is said of a ref whose options were set; nil where they were not.
    func note(_ ref: RefName) throws -> String? {
        guard let text = try text() else { return nil }
        let options = text.split(separator: "\n").joined(separator: ", ")
        return "the image of \(ref) has \(options.isEmpty ? "the usual options" : options)"
    }
}

/// Workspaces on this machine.
enum Workspace {
    /// The directory in full; throws for anything else than a directory.
    static func root(_ path: String) throws -> String {
        guard let status = try DiskFileSystem().status(path) else {
            throw CASError(.notFound, "there is no directory '\(path)'")
        }
        let root = try Host.resolve(path)
        guard status.kind == .directory else {
            throw CASError(
                .invalidArgument, "'\(path)' is not a directory",
                hint: "push the directory that holds it, with --include")
        }
        return root
    }

    /// Where the stat cache of a workspace lies: outside of it, since it may be read-only or shared.
    static func cachePath(of root: String, settings: Settings) throws -> String? {
        let directory = FilePaths.join(settings.directories.cache.value, "scan")
        do { try DiskFileSystem().createDirectory(directory) } catch let error as CASError {
            // Without a cache every file is read: slower, and the same result.
            Console.note(
                "note: nothing is remembered for the next push: \(printable(error.description))")
            return nil
        }
        return FilePaths.join(directory, Digest.of(Array(root.utf8)).hexadecimal)
    }
}

/// The ref of a push, and who named it.
enum PushTarget {
    static func choose(
        _ target: Reference?, root: String, store: StoreAccess
    ) throws -> Setting<RefName> {
        if let target { return Setting(try Arguments.refName(target), .flag("--to")) }
        if let project = store.settings.project, let to = project.to {
            return Setting(try project.ref(to), .projectFile(project.path))
        }
        let scopes = store.connection.isLocal ? [] : try store.connection.describe().scopes
        let prefix = scopes.first {
            !$0.prefix.isEmpty && !$0.verbs.isDisjoint(with: [.write, .admin])
        }?.prefix
        return Setting(
            try DefaultRef.name(
                directory: root, writablePrefix: prefix, user: store.settings.environment.user),
            .builtIn)
    }
}
