import ArgumentParser
import CASClient
import CASCompression
import CASCore
import CASPack
import CASTree
import CASWorkspace

/// `cas cat REF PATH`.
struct CatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cat",
        abstract: "Print a file of a snapshot.",
        discussion: """
            EXAMPLES:
              cas cat team/project train.py
              cas cat team/project@sha256:… data/labels.csv > labels.csv
            """)

    @Argument(help: ArgumentHelp("A ref or digest.", valueName: "ref"))
    var reference: String

    @Argument(help: "The path of a file in it.")
    var path: String

    @OptionGroup var storeFlags: StoreFlags

    func run() throws {
        let wanted = try Arguments.reference(reference)
        try storeFlags.withStore(host: wanted.host, settings: try Settings.load()) { store in
            let reader = try StoreReader(store.connection)
            let resolved = try reader.resolve(wanted)
            switch try reader.entry(path, in: resolved.snapshot) {
            case .directory:
                throw CASError(
                    .invalidArgument, "'\(path)' is a directory",
                    hint: "cas ls \(reference) \(path)")
            case .symlink(let link):
                throw CASError(
                    .invalidArgument,
                    "'\(path)' is a symbolic link to '\(PathText.printable(link.target))'")
            case .file(let file, _):
                try BlobPrinter(file).print(from: store.connection)
            }
        }
    }
}

/// Streams one file to standard output.
///
/// Chunks are checked before they are printed; the whole at the
/// end, since how chunks compose a file is a claim of the store.
private final class BlobPrinter {
    private let file: FileNode
    private let decompressor: Decompressor
    private let raw = ReusableBuffer(capacity: 1 << 20)
    private var expected: [ChunkList.Term] = []
    private var position = 0
    private var printed: UInt64 = 0

    init(_ file: FileNode) throws {
        self.file = file
        decompressor = try Decompressor()
    }

    func print(from connection: any StoreConnection) throws {
        guard file.size > 0 else { return }
        var decoder = RecordStreamDecoder()
        var hasher = DigestHasher()
        try connection.readBlobs([file.digest]) { bytes in
            try decoder.push(bytes) { record in
                try take(record) { piece in
                    hasher.update(piece)
                    printed += UInt64(piece.count)
                    guard printed <= file.size else { throw wrong() }
                    Console.data(bytes: Array(piece))
                }
            }
        }
        try decoder.finish()
        guard printed == file.size, hasher.finish() == file.digest else { throw wrong() }
    }

    private func wrong() -> CASError {
        CASError(
            .dataLoss, "the store sent content that is not what its digest says",
            hint: "push the file again to mend the store", digest: file.digest)
    }

    private func take(
        _ record: RecordView, _ emit: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        switch record.header.kind {
        case .failure: throw RecordFailure.error(record)
        case .end, .fileStart: return
        case .chunkList:
            guard expected.isEmpty, record.header.digest == file.digest else { throw wrong() }
            try decode(record)
            expected = try ChunkList(decoding: raw.bytes, limits: .standard).terms
            try emitInline(emit)
        case .chunk, .directory, .attributes, .snapshot, .event:
            try decode(record)
            guard Digest.of(raw.bytes) == record.header.digest else { throw wrong() }
            if expected.isEmpty {
                guard record.header.digest == file.digest else { throw wrong() }
                return try emit(raw.bytes)
            }
            guard position < expected.count,
                case .chunk(let digest, _) = expected[position], digest == record.header.digest
            else { throw wrong() }
            try emit(raw.bytes)
            position += 1
            try emitInline(emit)
        case .pushRequest, .chunkReference: throw wrong()
        }
    }

    private func emitInline(_ emit: (UnsafeRawBufferPointer) throws -> Void) throws {
        while position < expected.count, case .inline(let bytes) = expected[position] {
            try bytes.withUnsafeBytes { try emit($0) }
            position += 1
        }
    }

    private func decode(_ record: RecordView) throws {
        raw.resize(to: record.header.rawLength)
        try decompressor.decode(
            record.payload, codec: record.header.codec, rawLength: record.header.rawLength,
            into: raw.mutableBytes)
    }
}
