import CASCatalog
import CASCore
import CASOCI
import CASTestSupport
import CASTree
import CASWire

@testable import CASRepository

extension Repository {
    /// Uploads a blob in requests of these lengths, the rest in a last one; its digest.
    @discardableResult
    func uploadBlob(
        _ bytes: [UInt8], to name: String, pieces: [Int] = [], expecting: ExpectedDigest? = nil
    ) throws -> Digest {
        let identifier = try beginUpload(name, domain: .standard)
        var start = 0
        for length in pieces + [.max] {
            let end = length > bytes.count - start ? bytes.count : start + length
            try appendBlob(Array(bytes[start..<end]), to: name, identifier)
            start = end
        }
        return try finishUpload(
            name, identifier, expecting: expecting ?? .sha256(Digest.of(bytes)), domain: .standard)
    }

    /// Sends one request of an upload.
    @discardableResult
    func appendBlob(
        _ bytes: [UInt8], to name: String, _ identifier: Identifier, at offset: UInt64? = nil
    ) throws -> UInt64 {
        let writer = try append(name, identifier, at: offset, domain: .standard)
        try bytes.withUnsafeBytes { try writer.write($0) }
        return try writer.checkpoint()
    }

    /// Puts a manifest that names these blobs; what it is about comes along in its bytes.
    func put(
        _ name: String, _ text: String, tags: [String] = [], blobs: [Digest] = [],
        _ adjust: (inout NewManifest) -> Void = { _ in }
    ) throws -> PutManifestResult {
        var manifest = NewManifest(
            name: name, bytes: Array(text.utf8),
            mediaType: "application/vnd.oci.image.manifest.v1+json")
        manifest.tags = tags
        manifest.blobs = blobs
        adjust(&manifest)
        return try putManifest(manifest, domain: .standard)
    }

    /// All bytes of a blob; nil if there is none.
    func blobBytes(_ digest: Digest) throws -> [UInt8]? {
        guard let reader = try blobReader(digest, domain: .standard) else { return nil }
        var bytes: [UInt8] = []
        try reader.read(0..<reader.size) { bytes += $0 }
        return bytes
    }

    func hasLink(_ name: String, _ digest: Digest, _ kind: OCILink.Kind? = nil) throws -> Bool {
        try link(name, digest, kind: kind, domain: .standard) != nil
    }

    /// Collects once.
    @discardableResult
    func collectAll() throws -> MaintenanceProgress {
        let collector = try Collector(self)
        while try collector.step() {}
        return collector.progress
    }

    /// The first thousand images that snapshots were answered to be.
    func allDerivedImages() throws -> [DerivedImage] {
        try catalog.read { try $0.derivedImages(after: nil, limit: 1_000, domain: .standard) }
    }
}
