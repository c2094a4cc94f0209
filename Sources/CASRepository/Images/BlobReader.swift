package import CASCore

/// Reads a blob, whether its bytes are stored or made of a tree; any number of ranges at once.
package final class OCIBlobReader: Sendable {
    /// The blob.
    package let digest: Digest
    /// Its bytes.
    package let size: UInt64

    init(digest: Digest, size: UInt64) {
        self.digest = digest
        self.size = size
    }

    /// A range, to be read piece by piece.
    package func pieces(_ range: Range<UInt64>) throws -> any PieceSource {
        throw CASError(.unimplemented, "reading")
    }

    /// The whole as zstd frames one after the other, piece by piece; nil where that is not worth it.
    ///
    /// How many bytes these are is not known before: what is stored may be compressed anew meanwhile.
    package func frames() throws -> (any PieceSource)? { throw CASError(.unimplemented, "reading") }

    /// Calls `body` with pieces of a range, in order.
    package func read(
        _ range: Range<UInt64>, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let source = try pieces(range)
        while try source.next(body) {}
    }
}

/// Bytes that come in pieces; one thread at a time.
package protocol PieceSource: Sendable {
    /// Calls `body` with the next piece, lent for the call; false at the end.
    func next(_ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Bool
}

extension Repository {
    /// A reader of a blob of the store or of a derived layer; nil if there is none.
    package func blobReader(_ digest: Digest, domain: Domain) throws -> OCIBlobReader? {
        throw CASError(.unimplemented, "reading")
    }
}
