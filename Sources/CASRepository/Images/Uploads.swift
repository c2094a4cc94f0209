package import CASCore

/// Uploads of blobs whose digest is known at the end only.
extension Repository {
    /// Begins an upload to a name; throws `resourceExhausted` where there are too many.
    package func beginUpload(_ name: String, domain: Domain) throws -> Identifier {
        throw CASError(.unimplemented, "uploads")
    }

    /// Bytes so far, all of them durable; nil if there is no such upload to that name.
    package func uploadStatus(
        _ name: String, _ identifier: Identifier, domain: Domain
    ) throws -> UInt64? { throw CASError(.unimplemented, "uploads") }

    /// Goes on with an upload; throws `notFound`, `outOfRange` where it does not end at `offset`, and
    /// `aborted` while another request writes to it.
    package func append(
        _ name: String, _ identifier: Identifier, at offset: UInt64?, domain: Domain
    ) throws -> UploadWriter { throw CASError(.unimplemented, "uploads") }

    /// Makes a blob of what was uploaded and links it; its digest.
    ///
    /// Throws `invalidArgument` where it has another digest, after which the upload can still be cancelled,
    /// `notFound`, and `aborted` while another request writes to it.
    package func finishUpload(
        _ name: String, _ identifier: Identifier, expecting: ExpectedDigest, domain: Domain
    ) throws -> Digest { throw CASError(.unimplemented, "uploads") }

    /// Forgets an upload; false if there is none.
    package func cancelUpload(
        _ name: String, _ identifier: Identifier, domain: Domain
    ) throws -> Bool { throw CASError(.unimplemented, "uploads") }

    /// Forgets uploads that nobody went on with since then; how many.
    @discardableResult
    package func expireUploads(before: Timestamp, domain: Domain) throws -> Int {
        throw CASError(.unimplemented, "uploads")
    }
}

/// Takes the bytes of one request of an upload; one thread at a time.
///
/// Ends with `checkpoint` or `abandon`; nobody else can write to the upload before.
package final class UploadWriter: Sendable {
    /// Bytes of the upload, with those that are not durable yet.
    package var size: UInt64 { 0 }
    /// Takes the next bytes.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        throw CASError(.unimplemented, "uploads")
    }
    /// Makes everything durable and ends the writing; bytes of the upload.
    package func checkpoint() throws -> UInt64 { throw CASError(.unimplemented, "uploads") }
    /// Ends the writing; the upload is what it was at the last checkpoint.
    package func abandon() {}
}
