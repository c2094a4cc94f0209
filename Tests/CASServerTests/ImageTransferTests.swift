import CASClient
import CASCore
import CASPack
import CASRepository
import CASServer
import CASTestSupport
import CASTree
import CASWire
import Testing

/// Images in the native protocol, over a server with rights.
@Suite struct ImageTransferTests {
    /// An image of one layer, committed as another store's copy is.
    private func push(
        _ name: String, _ store: any StoreConnection, also other: String? = nil
    ) throws -> (digest: Digest, contents: ImageContents) {
        let config = Array("{}".utf8)
        let layer = content(seed: 4, count: 300_000)
        let type = "application/vnd.oci.image.manifest.v1+json"
        func descriptor(_ type: String, _ bytes: [UInt8]) -> String {
            "{\"mediaType\":\"\(type)\",\"digest\":\"\(Digest.of(bytes))\",\"size\":\(bytes.count)}"
        }
        let manifest = Array(
            ("{\"schemaVersion\":2,\"mediaType\":\"\(type)\",\"config\":"
                + descriptor("application/vnd.oci.image.config.v1+json", config)
                + ",\"layers\":[" + descriptor("application/vnd.oci.image.layer.v1.tar", layer)
                + "]}").utf8)
        let contents = ImageContents(
            name: other ?? name,
            manifests: [
                ImageManifestEntry(
                    digest: Digest.of(manifest), size: UInt64(manifest.count), mediaType: type)
            ],
            blobs: [config, layer].map {
                ImageBlob(digest: Digest.of($0), size: UInt64($0.count))
            })
        let records = ReusableBuffer(capacity: 1 << 20)
        for bytes in [manifest, config, layer] {
            RecordCoding.append(
                kind: .chunk, digest: Digest.of(bytes), payload: bytes, to: records)
        }
        var request = PushRequest(
            pushID: .random(), ref: try RefName("\(name):v1"), snapshot: Digest.of(manifest))
        request.kind = .manifest
        request.images = [contents]
        let answer = try store.commit(request, records: records)
        guard answer.outcome == .done else {
            throw CASError(.internalError, "\(answer)")
        }
        return (Digest.of(manifest), contents)
    }

    @Test func `an image is committed, told of and copied through servers`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let other = try ServerWorld()
            try world.withRemote { remote in
                let store = RetryingStore(remote)
                let (digest, contents) = try push("team/app", store)
                #expect(try store.describe().takesImages)
                let found = try #require(try store.image(try Reference("team/app:v1")))
                #expect(found.digest == digest && found.images.images == [contents])
                #expect(found.entry?.totals?.files == 3)
                try other.withRemote { target in
                    let options = ImageTransferOptions(
                        image: found, ref: try RefName("mirror/app:v1"), provenance: Provenance())
                    let first = try ImageTransfer.run(
                        options, from: store, to: target, counters: ProgressCounters())
                    #expect(first.isMoved && first.misses.files == 3)
                    let second = try ImageTransfer.run(
                        options, from: store, to: target, counters: ProgressCounters())
                    #expect(!second.isMoved && second.misses.files == 0)
                    #expect(try target.ref(try RefName("mirror/app:v1"))?.target.digest == digest)
                }
                let error = #expect(throws: CASError.self) {
                    try store.images(of: .zero, name: "team/app")
                }
                #expect(error?.code == .notFound)
            }
        }
    }

    @Test func `names are told of to who may read them, and written by who may`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let token = try world.token("write+read:team")
            let remote = try world.remote(token: token)
            defer { try? remote.close() }
            let (digest, _) = try push("team/app", remote)
            let error = #expect(throws: CASError.self) {
                try push("team/app", remote, also: "other/app")
            }
            #expect(error?.code == .permissionDenied)
            let reader = try world.remote(token: try world.token("read:other"))
            defer { try? reader.close() }
            let hidden = #expect(throws: CASError.self) {
                try reader.images(of: digest, name: "team/app")
            }
            #expect(hidden?.code == .notFound)
            // Without the image's blobs nothing moves.
            var request = PushRequest(
                pushID: .random(), ref: try RefName("team/app:v2"), snapshot: Digest.of([7]))
            request.kind = .manifest
            let answer = try remote.commit(request, records: ReusableBuffer(capacity: 0))
            #expect(answer.outcome == .missing && answer.missing == [Digest.of([7])])
            #expect(try remote.ref(try RefName("team/app:v2")) == nil)
        }
    }
}
