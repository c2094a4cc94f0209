import CASCatalog
import CASCore
import CASOCI
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// Layers of snapshots in images that somebody builds.
@Suite struct LayersOfSnapshotsTests {
    private static let options = "owner=7:8\nprefix=/opt/app"

    private func layers(
        _ store: TestStore, _ want: String = "team/a", to name: String = "team/image",
        options: String = options
    ) throws -> LayersResponse {
        try #require(
            try store.repository.layers(
                LayersRequest(want: want, name: name, imageOptions: options), domain: .standard))
    }

    private func images(_ store: TestStore) throws -> Int {
        try store.repository.catalog.read {
            try $0.derivedImages(after: nil, limit: 1_000, domain: .standard).count
        }
    }

    @Test func `they are those that anybody cuts, and lie in the name`() throws {
        let store = try TestStore()
        let tree = try DerivationTests.fixture()
        try store.repository.push(tree, to: "team/a")
        let stored = try store.repository.usage(domain: .standard).rawBytes
        let answer = try layers(store)
        #expect(answer.totals.files > 0)
        // Cut and encoded as a client does that sends them.
        let options = try LayerOptions(prefix: Array("opt/app".utf8), userID: 7, groupID: 8)
        let root = tree.snapshot.tree.digest
        let source = StoredLayers(repository: store.repository, domain: .standard)
        let plan = try LayerPlan(root: root, source: source, options: options)
        #expect(answer.layers.map(\.title) == plan.items.map { $0.part.text(options) })
        for (layer, item) in zip(answer.layers, plan.items) {
            var bytes = LayerBytes(tree)
            try LayerEncoder(options).encode(
                item.part, root: root, source: source, to: &bytes)
            #expect(layer.digest == Digest.of(bytes.all))
            #expect(layer.size == UInt64(bytes.all.count))
            #expect(try store.repository.hasLink("team/image", layer.digest, .blob))
            #expect(try store.repository.blobBytes(layer.digest) == bytes.all)
        }
        // What is stored is manifest and configuration of the image that was derived.
        #expect(try store.repository.usage(domain: .standard).rawBytes < stored + 4_096)
        #expect(try layers(store) == answer)
        #expect(try images(store) == 1)
    }

    @Test func `a manifest keeps them when the snapshot's ref is gone`() throws {
        let store = try TestStore()
        try store.repository.push(try DerivationTests.fixture(), to: "team/a")
        let layer = try #require(try layers(store).layers.first)
        let config = try store.repository.uploadBlob(Array("{}".utf8), to: "team/image")
        let put = try store.repository.put(
            "team/image", "{\"layers\":1}", tags: ["v1"], blobs: [config, layer.digest])
        guard case .done = put else {
            return #expect(Bool(false), "\(put)")
        }
        let bytes = try store.repository.blobBytes(layer.digest)
        try store.repository.removeRef(
            try RefName("team/a"), .any, Provenance(time: store.clock.now()), domain: .standard)
        for _ in 0..<3 {
            store.clock.advance(nanoseconds: 40 * 86_400_000_000_000)
            try store.repository.collectAll()
        }
        #expect(try store.repository.blobBytes(layer.digest) == bytes)
        // Without the manifest nothing keeps them.
        try store.repository.removeRef(
            try RefName("team/image:v1"), .any, Provenance(time: store.clock.now()),
            domain: .standard)
        for _ in 0..<3 {
            store.clock.advance(nanoseconds: 40 * 86_400_000_000_000)
            try store.repository.collectAll()
        }
        #expect(try store.repository.blobBytes(layer.digest) == nil)
    }

    @Test func `without a name nothing is recorded`() throws {
        let store = try TestStore()
        try store.repository.push(try DerivationTests.fixture(), to: "team/a")
        let told = try layers(store, to: "")
        #expect(try images(store) == 0)
        #expect(try !store.repository.hasLink("team/image", told.layers[0].digest))
        #expect(try layers(store) == told)
    }

    @Test func `nobody waits for what is known`() throws {
        let store = try TestStore()
        try store.repository.push(try DerivationTests.fixture(), to: "team/a")
        let request = LayersRequest(
            want: "team/a", name: "team/image", imageOptions: Self.options)
        #expect(
            try store.repository.layers(request, isKnownOnly: true, domain: .standard) == nil)
        let made = try store.repository.layers(request, domain: .standard)
        #expect(
            try store.repository.layers(request, isKnownOnly: true, domain: .standard) == made)
    }

    @Test func `a number of layers is a limit`() throws {
        let store = try TestStore()
        var root = SampleFolder()
        for index in 0..<36 {
            root.files["file-\(index)"] = SampleFolder.File(
                content: [UInt8](repeating: UInt8(index), count: 1_000_000))
        }
        try store.repository.push(try SampleTree(root), to: "team/a")
        let usual = try layers(store, options: "")
        #expect(usual.layers.count == 2)
        #expect(try layers(store, options: "layers=2") == usual)
        #expect(try layers(store, options: "layers=1").layers.count == 1)
        for bad in ["layers=0", "layers=65", "layers=", "base=team/a@\(Digest.empty)"] {
            let error = #expect(throws: CASError.self) { try layers(store, options: bad) }
            #expect(error?.code == .invalidArgument)
        }
        #expect(throws: CASError.self) { try layers(store, "team/absent") }
        #expect(throws: CASError.self) { try layers(store, to: "Not a name") }
    }
}

/// The bytes of a layer, with the files of a sample.
private struct LayerBytes: LayerConsumer {
    let tree: SampleTree
    var all: [UInt8] = []

    init(_ tree: SampleTree) { self.tree = tree }

    mutating func bytes(_ bytes: UnsafeRawBufferPointer) { all += bytes }
    mutating func file(_ digest: Digest, size: UInt64) throws {
        guard let content = tree.files[digest] else {
            throw CASError(.notFound, "no such file", digest: digest)
        }
        all += content
    }
}
