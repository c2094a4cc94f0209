import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASRepository
import Glibc

/// `cas export REF... FILE`.
struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write refs, with all that they name, as one file.",
        usage: "cas export REF... FILE [OPTIONS]",
        discussion: """
            A ref that names an image comes with its manifests, configurations and layers, and what is about it, \
            as signatures; a ref of a workspace with what is about its image, and the image below it.

            The file holds everything that cas import needs, each content once, as the store has it, and \
            ends with a checksum. FILE is written under another name first; - is standard output.

            EXAMPLES:
              cas export team/project:v1 project.cas
              cas export team/project team/deps both.cas --store /srv/cas
              cas export team/app:v1 team/project app.cas
              cas export team/project - | ssh other cas import -
            """)

    @Argument(help: ArgumentHelp("Refs, and the file to write last.", valueName: "ref ... file"))
    var words: [String] = []

    @Flag(help: "Overwrite the file, and say so.")
    var force = false

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        guard words.count >= 2 else {
            throw ValidationError("give at least one REF and then the FILE to write")
        }
        if output.json, words.last == "-" {
            throw ValidationError("--json and - exclude each other: both are standard output")
        }
    }

    func run() throws {
        let settings = try Settings.load()
        let references = try words.dropLast().map { try Arguments.reference($0) }
        let names = try references.map { try Arguments.refName($0) }
        let host = try ExportCommand.host(references)
        let path = words[words.count - 1]
        let file = try ExportFile(path, force: force)
        try storeFlags.withStore(host: host, isPatient: true, settings: settings) { store in
            let counters = ProgressCounters()
            let shown = names.count == 1 ? "\(names[0])" : counted(names.count, "ref")
            let title = "exporting \(shown) from \(store.choice.text) to \(file.shown)"
            let summary = try ProgressLine.show(.fetch, title, counters) {
                try file.write { sink in
                    try Export.run(
                        names, from: store.connection, software: Software.version,
                        counters: counters, sink)
                }
            }
            report(summary, file)
        }
    }

    /// The host that all references name, or none of them.
    private static func host(_ references: [Reference]) throws -> String? {
        guard let first = references.first else { return nil }
        for other in references.dropFirst() {
            _ = try Arguments.commonHost(first, other)
            guard (first.host == nil) == (other.host == nil) else {
                throw ValidationError("name the HOST with each REF, or with none of them")
            }
        }
        return first.host
    }

    private func report(_ summary: ExportSummary, _ file: ExportFile) {
        if output.json {
            Console.data(
                .object([
                    ("refs", .list(summary.refs.map(\.json))), ("file", .text(file.shown)),
                    ("files", .count(summary.files.files)),
                    ("bytes", .count(summary.files.bytes)),
                    ("blobs", .count(summary.blobs.files)),
                    ("blobBytes", .count(summary.blobs.bytes)),
                    ("fileBytes", .count(summary.bytes)),
                ]))
        }
        if file.hasOverwritten { Console.note("overwrote \(file.shown), since --force is given") }
        for name in summary.unreadable {
            Console.note(
                "left out: the image below, of '\(printable(name))', which is not there or may not be read"
            )
        }
        let blobs =
            summary.blobs.files == 0
            ? ""
            : "\(counted(summary.blobs.files, "blob")) of images "
                + "(\(ByteCount.text(summary.blobs.bytes))), "
        Console.note(
            "\(file.shown): \(counted(summary.refs.count, "ref")), "
                + "\(counted(summary.files.files, "file")) "
                + "(\(ByteCount.text(summary.files.bytes))), " + blobs
                + "\(ByteCount.text(summary.bytes)) written")
    }
}

/// Where an export goes: a file that gets its name once it is whole, or standard output.
final class ExportFile {
    private let path: String?
    private let force: Bool
    /// Whether a file of that name was there.
    private(set) var hasOverwritten = false

    /// A file, or standard output for `-`; throws `alreadyExists` for a file that is there without `force`.
    init(_ text: String, force: Bool) throws {
        self.force = force
        guard text != "-" else {
            path = nil
            guard !Terminal.isTerminal(STDOUT_FILENO) else {
                throw CASError(
                    .failedPrecondition, "an export is no text, and standard output is a terminal",
                    hint: "name a file, or add | and a program that takes it")
            }
            return
        }
        let path = try StoreChoice.absolute(text)
        self.path = path
        guard let status = try DiskFileSystem().status(path) else { return }
        guard status.kind == .regular else {
            throw CASError(.failedPrecondition, "it is no file", path: path)
        }
        guard force else { throw ExportFile.isThere(path) }
        hasOverwritten = true
    }

    /// For a person.
    var shown: String { path ?? "standard output" }

    private static func isThere(_ path: String) -> CASError {
        CASError(
            .alreadyExists, "the file is there already", hint: "--force overwrites it", path: path)
    }

    /// Gives `body` what takes the bytes; the file gets its name if that does not throw.
    func write<Result>(
        _ body: ((UnsafeRawBufferPointer) throws -> Void) throws -> Result
    ) throws -> Result {
        guard let path else { return try body { Console.data(bytes: Array($0)) } }
        let disk = DiskFileSystem()
        let temporary = "\(path).\(Identifier.random()).new"
        Interruption.leaves(.export)
        return try Interruption.removing(temporary) {
            try write(temporary, path, disk, body)
        }
    }

    private func write<Result>(
        _ temporary: String, _ path: String, _ disk: DiskFileSystem,
        _ body: ((UnsafeRawBufferPointer) throws -> Void) throws -> Result
    ) throws -> Result {
        let file = try disk.open(temporary, .create)
        defer { file.close() }
        do {
            let result = try body { try file.append($0) }
            try file.synchronizeData()
            try name(temporary, path, disk)
            try disk.synchronizeDirectory(FilePaths.parent(path))
            return result
        } catch {
            // That failure is what matters.
            try? disk.remove(temporary)
            throw error
        }
    }

    private func name(_ temporary: String, _ path: String, _ disk: DiskFileSystem) throws {
        guard !force else { return try disk.rename(temporary, to: path) }
        do {
            if try disk.link(temporary, to: path) { return try disk.remove(temporary) }
        } catch let error as CASError where error.code == .alreadyExists {
            throw ExportFile.isThere(path)
        }
        // No hard links here.
        if try disk.size(path) != nil { throw ExportFile.isThere(path) }
        try disk.rename(temporary, to: path)
    }
}
