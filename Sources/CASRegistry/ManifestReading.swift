import CASCore
import CASHTTP
import CASOCI
import CASRepository
import CASWire
import HTTPTypes
import Hummingbird
import NIOCore

/// Manifests: served byte for byte with the type that they were pushed with, whatever is accepted.
extension RegistryDoor {
    /// Bytes of a manifest that is answered from memory at most.
    ///
    /// A larger one is read as it is sent, so that clients who do not read hold no memory.
    private static let heldBytes = 64 << 10

    /// A manifest as it is answered.
    private struct Found: Sendable {
        var digest: OCIDigest
        var reader: OCIBlobReader
        /// All of it, where it is small.
        var bytes: [UInt8]?
        var mediaType: String
        /// When the tag goes away, where somebody said so.
        var expires: Timestamp?
    }

    func manifest(
        _ name: String, _ reference: ManifestReference, _ request: Request, _ context: Context,
        _ notes: inout RequestNotes
    ) async throws -> Response {
        let entry = try await prepare(name, reference)
        let found = try await shared.blocking { [self] in try find(name, reference, entry) }
        guard let found else { throw Refusal.unknownManifest(reference.text) }
        let tag = "\"\(found.digest)\""
        var headers: HTTPFields = [.contentType: found.mediaType, .eTag: tag]
        headers.set("Docker-Content-Digest", found.digest.description)
        if let expires = found.expires {
            headers.set("Warning", "299 - \"the tag goes away at \(expires.iso8601)\"")
        }
        if RegistryDoor.matches(request.headers[.ifNoneMatch], tag) {
            return Response(status: .notModified, headers: headers)
        }
        if let bytes = found.bytes {
            return Response(
                status: .ok, headers: headers,
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
        }
        notes.isStreamed = true
        let reader = found.reader
        return Response(
            status: .ok, headers: headers,
            body: body("oci-manifests", context, reader.size) {
                try reader.pieces(0..<reader.size)
            })
    }

    /// What is asked for by digest, or by a tag that names `entry`.
    private func find(
        _ name: String, _ reference: ManifestReference, _ entry: RefEntry?
    ) throws -> Found? {
        var expires: Timestamp?
        let digest: Digest
        var shown: OCIDigest?
        switch reference {
        case .tag:
            guard let entry, let target = try manifestDigest(entry) else { return nil }
            digest = target
            expires = entry.expires
        case .digest(let asked):
            guard let known = try resolve(asked) else { return nil }
            digest = known
            shown = asked
        }
        guard let link = try repository.link(name, digest, kind: .manifest, domain: domain),
            let reader = try repository.blobReader(digest, domain: domain),
            reader.size <= shared.limits.manifestBytes
        else { return nil }
        repository.use(manifest: digest, of: name, isByDigest: shown != nil, domain: domain)
        var found = Found(
            digest: shown ?? .sha256(digest), reader: reader, mediaType: link.mediaType,
            expires: expires)
        if reader.size <= RegistryDoor.heldBytes || (shown == nil && link.isBySHA512) {
            guard
                let bytes = try repository.read(
                    blob: digest, maximumBytes: shared.limits.manifestBytes, domain: domain)
            else { return nil }
            found.digest = shown ?? RegistryDoor.shownDigest(link, bytes)
            if bytes.count <= RegistryDoor.heldBytes { found.bytes = bytes }
        }
        return found
    }

    /// The manifest that a tag names, or that of the image that its snapshot is.
    private func manifestDigest(_ entry: RefEntry) throws -> Digest? {
        switch entry.target.kind {
        case .manifest: entry.target.digest
        case .snapshot: try repository.derivedManifest(entry, domain: domain)
        }
    }

    /// The digest to call a manifest by where the request named none.
    ///
    /// That by which this repository was given it last: what others push elsewhere changes nothing.
    static func shownDigest(_ link: OCILink, _ bytes: [UInt8]) -> OCIDigest {
        link.isBySHA512
            ? .sha512(bytes.withUnsafeBytes { SHA512Hasher.of($0) }) : .sha256(link.digest)
    }
}
