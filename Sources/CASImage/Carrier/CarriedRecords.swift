import CASCompression
import CASCore
import CASPack

/// Makes records of blobs as the bytes of a layer go by; one thread.
final class CarriedRecords {
    /// Ends the reading of a layer of which no more is wanted.
    private static let stop = CASError(.internalError, "no more is wanted")
    private static let pieceBytes = 1 << 20

    private let source: String
    private let sink: (UnsafeRawBufferPointer) throws -> Void
    private let compressor: Compressor?
    private let output = ReusableBuffer(capacity: CarriedRecords.pieceBytes + (1 << 18))
    private let pending = ReusableBuffer(capacity: 1 << 18)
    private var extents: ArraySlice<CarriedExtent> = []
    /// Bytes of the extent at the front that went by, and the terms of its list.
    private var taken: UInt64 = 0
    private var term = 0
    private var termTaken = 0
    /// What the one who takes the records threw: it is not the registry that failed.
    private(set) var failure: (any Error)?

    init(
        of source: String, compresses: Bool,
        _ sink: @escaping (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        self.source = source
        self.sink = sink
        compressor = compresses ? try Compressor() : nil
    }

    /// Whether all that was wanted of a layer went by.
    var isDone: Bool { extents.isEmpty }

    /// Wants these blobs of the layer whose bytes come next; sorted, none over another.
    func begin(_ extents: ArraySlice<CarriedExtent>) { self.extents = extents }

    /// Takes bytes of the layer from a position on; such as came before are skipped.
    ///
    /// Throws for bytes of which no more is wanted; `isDone` says so then.
    func feed(_ bytes: UnsafeRawBufferPointer, at position: UInt64) throws {
        var start = position
        var rest = bytes
        while let extent = extents.first {
            let wanted = extent.offset + taken
            guard wanted < start + UInt64(rest.count) else { return }
            guard wanted >= start else {
                throw CASError(.internalError, "a part of a layer was left out")
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[Int(wanted - start)...])
            start = wanted
            let count = Int(min(UInt64(rest.count), extent.end - wanted))
            try take(UnsafeRawBufferPointer(rebasing: rest[..<count]), of: extent)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            start += UInt64(count)
        }
        if !rest.isEmpty { throw CarriedRecords.stop }
    }

    /// Adds a record of something that lies in memory.
    func append(_ kind: RecordKind, _ digest: Digest, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try append(kind, digest, $0) }
    }

    /// Ends the stream.
    func finish() throws {
        RecordCoding.appendMark(kind: .end, to: output)
        try flush()
    }

    private func take(_ bytes: UnsafeRawBufferPointer, of extent: CarriedExtent) throws {
        if taken == 0, let list = extent.list {
            try append(.chunkList, extent.digest, list.encode())
            (term, termTaken) = (0, 0)
        }
        taken += UInt64(bytes.count)
        if let list = extent.list {
            try take(bytes, by: list)
        } else {
            pending.append(bytes)
            if taken == extent.size { try complete(extent.digest) }
        }
        if taken == extent.size {
            extents = extents.dropFirst()
            taken = 0
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer, by list: ChunkList) throws {
        var rest = bytes
        while !rest.isEmpty, term < list.terms.count {
            let count = min(rest.count, list.terms[term].length - termTaken)
            termTaken += count
            let isWhole = termTaken == list.terms[term].length
            if case .chunk(let digest, _) = list.terms[term] {
                pending.append(UnsafeRawBufferPointer(rebasing: rest[..<count]))
                if isWhole { try complete(digest) }
            }
            if isWhole { (term, termTaken) = (term + 1, 0) }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    private func complete(_ digest: Digest) throws {
        guard Digest.of(pending.bytes) == digest else {
            throw CASError(
                .dataLoss, "\(source) holds other bytes than the snapshot that the image carries",
                hint: "copy it there again from where it is still whole", digest: digest)
        }
        try append(.chunk, digest, pending.bytes)
        pending.removeAll()
    }

    private func append(
        _ kind: RecordKind, _ digest: Digest, _ bytes: UnsafeRawBufferPointer
    ) throws {
        if let compressor {
            try RecordCoding.appendFrame(
                kind: kind, digest: digest, rawLength: bytes.count, to: output
            ) { try compressor.encode(bytes, into: $0) }
        } else {
            RecordCoding.append(kind: kind, digest: digest, payload: bytes, to: output)
        }
        if output.count >= CarriedRecords.pieceBytes { try flush() }
    }

    private func flush() throws {
        do { try sink(output.bytes) } catch {
            failure = error
            // Not one after which the registry would be asked again.
            throw CASError(.internalError, "the records were not taken", cause: error)
        }
        output.removeAll()
    }
}
