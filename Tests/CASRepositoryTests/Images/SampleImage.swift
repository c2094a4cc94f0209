import CASCore
import CASTestSupport
import CASWire
import Foundation
import Testing

@testable import CASRepository

/// What the sample of format 3 has of images, and how it came into it.
@Suite struct SampleImage {
    /// A layer of two chunks and more.
    static var layer: [UInt8] {
        var random = SeededGenerator(seed: 3)
        return random.bytes(1_500) + [UInt8](repeating: 6, count: 1_200_000)
    }

    /// `CAS_WRITE_STORE=DIRECTORY` adds images to the store of format 2 that lies there.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAS_WRITE_STORE"] != nil))
    func `makes the sample`() throws {
        let directory = try #require(ProcessInfo.processInfo.environment["CAS_WRITE_STORE"])
        let store = try StoreLocation.open(directory: directory, create: false)
        let name = "team/image"
        let blobs = [
            try store.uploadBlob(Self.layer, to: name, pieces: [700_000]),
            try store.uploadBlob([5], to: name),
        ]
        _ = try store.mount(blobs[1], from: name, to: "team/other", domain: .standard)
        _ = try store.unlink(
            "team/other", blobs[1], kind: .blob, Provenance(author: "ada"), domain: .standard)
        let text = #"{"schemaVersion":2}"#
        let sha512 = Array(text.utf8).withUnsafeBytes { SHA512Hasher.of($0) }
        _ = try store.put(name, text, tags: ["v1"], blobs: blobs) {
            $0.isByDigest = true
            $0.sha512 = sha512
            $0.subject = Digest.of([1])
            $0.artifactType = "application/x.sample"
        }
        try store.close()
    }
}
