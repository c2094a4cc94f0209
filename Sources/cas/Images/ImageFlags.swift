import ArgumentParser
import CASClient
import CASCore
import CASImage
import CASOCI
import CASWire

extension LayerCompression: ExpressibleByArgument {}

/// Flags that say what an image is made of.
struct ImageFlags: ParsableArguments {
    @Option(help: ArgumentHelp("The image below, or 'scratch' for none.", valueName: "image"))
    var base: String

    @Option(
        help: ArgumentHelp(
            "A snapshot to put on top, and in which directory; repeat it, what changes least first.",
            valueName: "ref[=/path]"))
    var workspace: [String] = []

    @Option(
        help: ArgumentHelp(
            "The directory of snapshots that name none (--workdir, else /workspace).",
            valueName: "/path"))
    var prefix: String?

    @Option(
        help: ArgumentHelp("Who owns the files, in numbers (0:0).", valueName: "user:group"))
    var owner = "0:0"

    @Option(
        name: .customLong("env"),
        help: ArgumentHelp("A variable; can be repeated.", valueName: "name=value"))
    var environment: [String] = []

    @Option(
        help: ArgumentHelp(
            "What is run: one word, or a list in JSON.", valueName: "command"))
    var entrypoint: String?

    @Option(
        name: .customLong("cmd"),
        help: ArgumentHelp("Its arguments: one word, or a list in JSON.", valueName: "words"))
    var command: String?

    @Option(
        name: .customLong("workdir"),
        help: ArgumentHelp("The directory that it starts in.", valueName: "/path"))
    var workingDirectory: String?

    @Option(help: ArgumentHelp("Who it runs as.", valueName: "user[:group]"))
    var user: String?

    @Option(
        name: .customLong("label"),
        help: ArgumentHelp("A label of the image; can be repeated.", valueName: "key=value"))
    var labels: [String] = []

    @Option(
        name: .customLong("annotation"),
        help: ArgumentHelp(
            "An annotation of its manifest; can be repeated.", valueName: "key=value"))
    var annotations: [String] = []

    @Option(
        name: .customLong("directory"),
        help: ArgumentHelp(
            "An empty directory and its mode (755); can be repeated.",
            valueName: "/path[=mode]"))
    var directories: [String] = []

    /// Directories that are made.
    func emptyDirectories() throws -> [EmptyDirectory] {
        try Arguments.usage { try directories.map { try EmptyDirectory($0) } }
    }

    func validate() throws {
        _ = try emptyDirectories()
        guard !workspace.isEmpty else {
            throw ValidationError("--workspace is missing: which snapshot should be in the image?")
        }
        _ = try workspaces()
        _ = try options()
        if base != "scratch" { _ = try ImageAccess.reference(base) }
    }

    /// One snapshot, and where it stands in the image.
    struct Workspace {
        let reference: Reference
        let options: LayerOptions
        /// The directory, with a slash in front.
        var directory: String { "/" + String(decoding: options.prefix, as: UTF8.self) }
    }

    /// Snapshots in the order given, which is that of the layers.
    func workspaces() throws -> [Workspace] {
        let numbers = owner.split(separator: ":", omittingEmptySubsequences: false).map {
            UInt32($0)
        }
        guard numbers.count == 2, let user = numbers[0], let group = numbers[1] else {
            throw ValidationError("--owner '\(owner)' is no USER:GROUP in numbers; write 1000:1000")
        }
        return try workspace.map { text in
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let path =
                parts.count > 1 ? String(parts[1]) : prefix ?? workingDirectory ?? "/workspace"
            guard path.hasPrefix("/") else {
                throw ValidationError("'\(path)' is no directory of an image; write /workspace")
            }
            return Workspace(
                reference: try Arguments.reference(String(parts[0])),
                options: try Arguments.usage {
                    try LayerOptions(prefix: Array(path.utf8), userID: user, groupID: group)
                })
        }
    }

    /// The host of all snapshots: they come from one store.
    func host() throws -> String? {
        let all = try workspaces().map(\.reference.host)
        guard let first = all.first, all.allSatisfy({ $0 == first }) else {
            throw ValidationError(
                "the snapshots are in several stores; cas copy brings them together")
        }
        return first
    }

    /// How the image is run, as far as flags say it.
    func options() throws -> ImageOptions {
        guard let first = try workspaces().first else {
            throw ValidationError("--workspace is missing")
        }
        var options = ImageOptions(layers: first.options)
        for text in environment { _ = try ImageFlags.pair(text, "--env", "NAME=VALUE") }
        options.environment = environment
        options.entrypoint = try entrypoint.map { try ImageFlags.words($0, "--entrypoint") }
        options.command = try command.map { try ImageFlags.words($0, "--cmd") }
        options.workingDirectory = workingDirectory ?? ""
        options.user = user ?? ""
        options.labels = try ImageFlags.map(labels, "--label")
        options.annotations = try ImageFlags.map(annotations, "--annotation")
        if workingDirectory?.hasPrefix("/") == false {
            throw ValidationError("--workdir must begin with a slash")
        }
        try Arguments.requireText()
        try Arguments.usage { try options.check() }
        return options
    }

    private static func map(_ texts: [String], _ flag: String) throws -> [String: String] {
        var result: [String: String] = [:]
        for text in texts {
            let (key, value) = try pair(text, flag, "KEY=VALUE")
            result[key] = value
        }
        return result
    }

    private static func pair(
        _ text: String, _ flag: String, _ example: String
    ) throws -> (String, String) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw ValidationError("\(flag) '\(text)' is no pair; write \(flag) \(example)")
        }
        return (String(text[..<equals]), String(text[text.index(after: equals)...]))
    }

    /// One word as it is, or the words of a JSON list; never a shell's line.
    private static func words(_ text: String, _ flag: String) throws -> [String] {
        guard text.hasPrefix("[") else { return text.isEmpty ? [] : [text] }
        guard let words = try? JSON(decoding: Array(text.utf8)).texts else {
            throw ValidationError(
                "\(flag) '\(text)' is no list of texts in JSON; write \(flag) '[\"python3\", \"train.py\"]'"
            )
        }
        return words
    }
}

extension WorkspaceOrigin {
    /// When the image is said to be made: SOURCE_DATE_EPOCH, else when its newest snapshot was pushed, else
    /// the beginning of time; never now, so that the same inputs are the same image.
    func created(_ environment: EnvironmentVariables) throws -> Int64 {
        guard let text = environment["SOURCE_DATE_EPOCH"] else { return newest?.time.seconds ?? 0 }
        guard let seconds = Int64(text), seconds >= 0, seconds < 253_402_300_800 else {
            throw CASError(
                .invalidArgument, "SOURCE_DATE_EPOCH '\(printable(text))' is no number of seconds")
        }
        return seconds
    }
}
