import CASCatalog
import CASCore
import CASOCI
import CASTestSupport
import CASWire
import Testing

@testable import CASRepository

/// What is about images of snapshots and came before them, and records of such images that came back.
@Suite struct DerivedHoldingTests {
    private static let name = "team/image"
    private static let day: UInt64 = 86_400_000_000_000
    private static let signature = Digest.of(Array("signature".utf8))

    private let tree: SampleTree
    private let image: Digest

    /// The image is what another store makes of the same tree.
    init() throws {
        tree = try SampleTree.random(5, largestFile: 9_000)
        let other = try TestStore()
        try other.repository.push(tree, to: Self.name)
        image = try PulledImage(other.repository, Self.name).digest
    }

    private func sign(_ store: TestStore) throws {
        _ = try store.repository.put(Self.name, "signature") {
            $0.isByDigest = true
            $0.subject = image
        }
    }

    private func pass(_ store: TestStore, days: UInt64) throws {
        store.clock.advance(nanoseconds: days * Self.day)
        try store.repository.collectAll()
    }

    private func isRoot(_ store: TestStore) throws -> Bool? {
        try store.repository.link(Self.name, Self.signature, kind: .manifest, domain: .standard)?
            .isRoot
    }

    /// Looks that the signature is here as long as the snapshot is.
    private func expectHeld(_ store: TestStore) throws {
        #expect(try isRoot(store) == false)
        for isRebuilt in [false, true] {
            if isRebuilt { _ = try store.rebuild() }
            try pass(store, days: 40)
            #expect(try isRoot(store) == false)
            #expect(try store.repository.blobBytes(Self.signature) != nil)
        }
        try store.repository.removeRef(
            try RefName(Self.name), .any, Provenance(author: "somebody"), domain: .standard)
        try pass(store, days: 40)
        try pass(store, days: 1)
        #expect(try isRoot(store) == nil)
        #expect(try store.repository.blobBytes(Self.signature) == nil)
    }

    @Test(arguments: Storage.allCases)
    func `what is about the image of a snapshot and came first goes with that`(
        _ storage: Storage
    ) throws {
        let store = try TestStore(storage)
        try sign(store)
        #expect(try isRoot(store) == true)
        try store.repository.push(tree, to: Self.name)
        #expect(try PulledImage(store.repository, Self.name).digest == image)
        try expectHeld(store)
    }

    @Test func `the image may be known by another name before the snapshot comes`() throws {
        let store = try TestStore()
        try store.repository.push(tree, to: "team/other")
        #expect(try PulledImage(store.repository, "team/other").digest == image)
        try sign(store)
        #expect(try isRoot(store) == true, "this name has no such image")
        try pass(store, days: 1)
        #expect(try isRoot(store) == true)
        try store.repository.push(tree, to: Self.name)
        #expect(try isRoot(store) == false)
        try store.repository.removeRef(
            try RefName("team/other"), .any, Provenance(author: "somebody"), domain: .standard)
        try expectHeld(store)
    }

    @Test func `a ref that is set to the snapshot holds it too`() throws {
        let store = try TestStore()
        let pushed = try store.repository.push(tree, to: "team/other")
        _ = try PulledImage(store.repository, "team/other")
        try sign(store)
        _ = try store.repository.setRef(
            try RefName(Self.name), RefUpdate(target: pushed.snapshot), domain: .standard)
        #expect(try isRoot(store) == false)
    }

    @Test func `what is about an image that its name does not have stays`() throws {
        let store = try TestStore()
        try sign(store)
        try store.repository.push(tree, to: "team/other")
        _ = try PulledImage(store.repository, "team/other")
        #expect(try isRoot(store) == true)
        try store.repository.removeRef(
            try RefName("team/other"), .any, Provenance(author: "somebody"), domain: .standard)
        try pass(store, days: 40)
        try pass(store, days: 1)
        #expect(try isRoot(store) == true)
    }

    private func known(_ store: TestStore) throws -> [Digest] {
        try store.repository.catalog.read {
            try $0.derivedImages(after: nil, limit: 100, domain: .standard).map(\.manifest)
        }
    }

    /// Damages the record of a blob, in whatever pack it lies.
    private func lose(_ store: TestStore, _ digest: Digest) throws {
        try store.reopen()
        let (location, pack) = try store.repository.catalog.read { reader in
            let location = try #require(try reader.location(of: digest, domain: .standard))
            let pack = try #require(try reader.packs().first { $0.number == location.pack })
            return (location, pack.identifier)
        }
        let path = try #require(try store.packs().first { $0.contains("\(pack)") })
        try store.change(path) {
            $0[Int(location.offset) + Int(location.recordBytes) - 10] ^= 1
        }
    }

    @Test(arguments: Storage.allCases)
    func `the image of a snapshot whose bytes are gone is no image after a rebuild`(
        _ storage: Storage
    ) throws {
        let store = try TestStore(storage)
        try store.repository.push(tree, to: Self.name)
        #expect(try PulledImage(store.repository, Self.name).digest == image)
        _ = try store.rebuild()
        #expect(try known(store) == [image])
        try lose(store, image)
        _ = try store.rebuild()
        #expect(try known(store) == [])
        // It is made again as it was.
        #expect(try PulledImage(store.repository, Self.name).digest == image)
        #expect(try known(store) == [image])
    }

    @Test func `an image stays by which a layer is made that another name has`() throws {
        let store = try TestStore()
        try store.repository.push(tree, to: Self.name)
        let pulled = try PulledImage(store.repository, Self.name)
        guard case .sha256(let layer) = pulled.manifest.layers[0].digest else { return }
        #expect(
            try store.repository.mount(layer, from: Self.name, to: "team/b", domain: .standard))
        try lose(store, image)
        _ = try store.rebuild()
        #expect(try known(store) == [image])
        #expect(try store.repository.blobBytes(layer) == pulled.layers[0])
    }
}
