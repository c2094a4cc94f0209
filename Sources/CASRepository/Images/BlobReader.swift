import CASCatalog
package import CASCore
import CASPack
import Synchronization

/// Bytes that come in pieces; one thread at a time.
package protocol PieceSource: Sendable {
    /// Calls `body` with the next piece or pieces, each lent for the call; false at the end.
    func next(_ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Bool
}

/// Where the bytes of a blob come from.
protocol BlobContent: Sendable {
    /// A range, piece by piece.
    func pieces(_ range: Range<UInt64>) throws -> any PieceSource
    /// The whole as zstd frames; nil where that is not worth it.
    func frames() throws -> (any PieceSource)?
}

/// Reads a blob, whether its bytes are stored or made of a tree; any number of ranges at once.
package final class OCIBlobReader: Sendable {
    /// The blob.
    package let digest: Digest
    /// Its bytes.
    package let size: UInt64
    private let content: any BlobContent

    init(digest: Digest, size: UInt64, content: any BlobContent) {
        self.digest = digest
        self.size = size
        self.content = content
    }

    /// A range, cut to the blob's end, to be read piece by piece.
    package func pieces(_ range: Range<UInt64>) throws -> any PieceSource {
        try content.pieces(range.clamped(to: 0..<size))
    }

    /// The whole as zstd frames one after the other, piece by piece; nil where that is not worth it.
    ///
    /// How many bytes these are is not known before: what is stored may be compressed anew meanwhile.
    package func frames() throws -> (any PieceSource)? { try content.frames() }

    /// Calls `body` with pieces of a range, in order.
    package func read(
        _ range: Range<UInt64>, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let source = try pieces(range)
        while try source.next(body) {}
    }
}

extension Repository {
    /// A reader of a blob of the store or of a derived layer; nil if there is none.
    ///
    /// It says nothing of who may read it: links do.
    package func blobReader(_ digest: Digest, domain: Domain) throws -> OCIBlobReader? {
        if let size = try size(of: digest, domain: domain) {
            let terms = digest == .empty ? [] : try terms(of: digest, domain: domain)
            return OCIBlobReader(
                digest: digest, size: size,
                content: StoredContent(repository: self, domain: domain, terms: terms))
        }
        return try derivedReader(digest, domain: domain)
    }
}

/// The bytes of a blob that is stored.
struct StoredContent: BlobContent {
    let repository: Repository
    let domain: Domain
    let terms: [ChunkList.Term]

    func pieces(_ range: Range<UInt64>) throws -> any PieceSource {
        try StoredPieces(repository, terms: terms, range: range, domain: domain)
    }

    /// Frames are worth it where they save a tenth; all chunks are looked at for that.
    func frames() throws -> (any PieceSource)? {
        let (raw, stored) = try repository.catalog.read { reader in
            let chunks = ChunkList(terms: terms).chunks
            let places = try reader.locations(of: chunks, domain: domain)
            return places.reduce((UInt64(0), UInt64(0))) { sum, place in
                guard let place else { return sum }
                return (sum.0 + UInt64(place.rawLength), sum.1 + UInt64(place.storedLength))
            }
        }
        guard stored < raw - raw / 10 else { return nil }
        return FrameCursor(repository, domain: domain, terms: terms)
    }
}

/// Gives the stored frames of a blob in order; what is stored raw goes into a frame of raw blocks.
final class FrameCursor: PieceSource {
    private let repository: Repository
    private let domain: Domain
    private let terms: [ChunkList.Term]
    private let index = Mutex(0)

    init(_ repository: Repository, domain: Domain, terms: [ChunkList.Term]) {
        self.repository = repository
        self.domain = domain
        self.terms = terms
    }

    func next(_ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Bool {
        let term = index.withLock { index -> ChunkList.Term? in
            defer { index += 1 }
            return index < terms.count ? terms[index] : nil
        }
        guard let term else { return false }
        switch term {
        case .inline(let bytes):
            try bytes.withUnsafeBytes { content in
                try RawFrame.encode(content).withUnsafeBytes(body)
            }
        case .chunk(let digest, _):
            let found = try repository.withFrame(digest, domain: domain, body)
            guard found else {
                throw CASError(.dataLoss, "a chunk of a blob is missing", digest: digest)
            }
        }
        return true
    }
}

/// A zstd frame (RFC 8878, 3.1.1) that holds bytes as they are.
enum RawFrame {
    private static let magic: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]
    /// A single segment, with its size in eight bytes.
    private static let descriptor: UInt8 = 0xe0
    private static let blockBytes = 128 << 10

    static func encode(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var output = magic
        output.reserveCapacity(bytes.count + bytes.count / blockBytes * 3 + 32)
        output.append(descriptor)
        output.append(littleEndian: UInt64(bytes.count))
        var start = 0
        repeat {
            let end = min(start + blockBytes, bytes.count)
            let isLast = end == bytes.count
            let header = UInt32(end - start) << 3 | (isLast ? 1 : 0)
            for shift in [0, 8, 16] { output.append(UInt8(truncatingIfNeeded: header >> shift)) }
            output.append(contentsOf: bytes[start..<end])
            start = end
        } while start < bytes.count
        return output
    }
}

extension Repository {
    /// Calls `body` with a chunk as one zstd frame, the stored one where it is; false if it is absent.
    func withFrame(
        _ digest: Digest, domain: Domain, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> Bool {
        try view(domain) { reader in
            guard let location = try reader.location(of: digest, domain: domain),
                location.kind.isKeyedByPayload
            else { return false }
            return try recordBuffers.with { buffers in
                let records = try RecordReader(
                    files: files, catalog: reader, limits: limits, buffers: buffers)
                let payload = try records.stored(digest, location)
                if location.codec == .raw {
                    try RawFrame.encode(payload).withUnsafeBytes(body)
                } else {
                    try body(payload)
                }
                return true
            }
        }
    }
}
