import CASClient
import CASCore
import CASOCI
import CASRepository
import CASTestSupport
import CASWire
import Synchronization
import Testing

/// Images in exports, copies and tags.
@Suite struct ImageCarryTests {
    private func makeWorld() throws -> (LocalWorld, SampleIndex, RefName) {
        let world = try LocalWorld()
        return (world, try SampleIndex(world.store), try RefName("team/app:v1"))
    }

    @Test func `an exported image is served elsewhere as it was, with what is about it`() throws {
        let (world, sample, ref) = try makeWorld()
        let bytes = try world.export([ref])
        #expect(bytes.count < 1_600_000)
        let target = try world.makeOther()
        let first = try world.importing(bytes, into: target)
        #expect(first.refs.map(\.isMoved) == [true] && first.knownRecords == 0)
        let entry = try #require(try target.ref(ref))
        #expect(entry.target == RefTarget(kind: .manifest, digest: sample.index))
        #expect(entry.totals == (try world.store.ref(ref))?.totals && entry.tree == nil)
        try sample.check(target)
        let again = try world.importing(bytes, into: target)
        #expect(again.refs.map(\.isMoved) == [false] && again.sentRecords == 0)
        try target.close()
        let opened = try LocalStore(directory: target.location, create: false)
        try sample.check(opened)
    }

    @Test func `a ref that names something else is moved only by force`() throws {
        let (world, sample, ref) = try makeWorld()
        try world.write("a", "1")
        let target = try world.makeOther()
        _ = try world.push(to: target) { $0.ref = ref }
        let bytes = try world.export([ref])
        let error = #expect(throws: CASError.self) { try world.importing(bytes, into: target) }
        #expect(error?.code == .failedPrecondition)
        _ = try world.importing(bytes, into: target, force: true)
        #expect(try target.ref(ref)?.target.digest == sample.index)
        try sample.check(target)
    }

    @Test func `a store that takes no images is not sent any`() throws {
        let (world, _, ref) = try makeWorld()
        let bytes = try world.export([ref])
        let old = DecoratedStore(try world.makeOther())
        old.onDescribe.withLock { $0 = { $0.takesImages = false } }
        let error = #expect(throws: CASError.self) { try world.importing(bytes, into: old) }
        #expect(error?.code == .failedPrecondition && old.uploadCount == 0)
        let source = DecoratedStore(world.store)
        source.onDescribe.withLock { $0 = { $0.takesImages = false } }
        #expect(throws: CASError.self) { try world.export([ref], from: source) }
    }

    @Test func `layers that are made of a tree are carried as blobs`() throws {
        let world = try LocalWorld()
        try world.write("a", "1")
        try world.write("deep/b", SeededGenerator.text(seed: 3, count: 900_000))
        for index in 0..<40 { try world.write("many/\(index)", "file \(index)\n") }
        _ = try world.push()
        let derived = try world.store.derived(world.ref)
        let manifest = try ImageManifest(
            decoding: try #require(try world.store.blobBytes(derived)))
        let pusher = ImagePusher(world.store, "team/other")
        let config = Array("{}".utf8)
        try pusher.blob(config)
        for layer in manifest.layers {
            guard case .sha256(let digest) = layer.digest else { continue }
            #expect(
                try world.store.repository.mount(
                    digest, from: "team/project", to: "team/other", domain: .standard))
        }
        try pusher.manifest(
            config, manifest.layers.map { ($0.digest, Int($0.size)) }, tags: ["latest"])
        let target = try world.makeOther()
        _ = try world.importing(try world.export([try RefName("team/other")]), into: target)
        #expect(try target.ref(world.ref) == nil)
        for layer in manifest.layers {
            guard case .sha256(let digest) = layer.digest else { continue }
            #expect(try target.hasLink("team/other", digest, .blob))
            #expect(try target.blobBytes(digest) == world.store.blobBytes(digest))
        }
        // What the files of a workspace have is not sent again.
        let third = try world.makeOther("third")
        _ = try world.push(to: third) { $0.cachePath = nil }
        let found = try #require(try world.store.image(try Reference("team/other")))
        let summary = try ImageTransfer.run(
            ImageTransferOptions(
                image: found, ref: try RefName("team/other"), provenance: Provenance()),
            from: world.store, to: third, counters: ProgressCounters())
        #expect(summary.isMoved && summary.sentBytes < 100_000, "\(summary.sentBytes)")
    }

    @Test func `the image of a snapshot has the same digest after an import`() throws {
        let world = try LocalWorld()
        try world.write("a", "1")
        try world.write("sub/b", SeededGenerator.text(seed: 3, count: 300_000))
        _ = try world.push { $0.imageOptions = "owner=7:8\nprefix=/opt/app" }
        let unasked = try world.makeOther("unasked")
        let before = try world.importing(try world.export([world.ref]), into: unasked)
        guard case nil = before.refs[0].image else {
            Issue.record("nobody asked for an image")
            return
        }
        let derived = try world.store.derived(world.ref)
        #expect(try unasked.derived(world.ref) == derived)

        let signature = Array("signature".utf8)
        let pusher = ImagePusher(world.store, "team/project")
        try pusher.blob(signature)
        let about = try pusher.manifest(
            signature, [], about: (derived, try world.store.size(derived)))
        let bytes = try world.export([world.ref])
        #expect(try TakenApart(bytes).manifest.images.map(\.derived) == [derived])
        let target = try world.makeOther()
        let summary = try world.importing(bytes, into: target)
        guard case .same(derived) = summary.refs[0].image else {
            Issue.record("\(String(describing: summary.refs[0].image))")
            return
        }
        // By its digest, without anybody having asked for the tag.
        #expect(try target.hasLink("team/project", derived, .manifest))
        #expect(try target.blobBytes(derived) == world.store.blobBytes(derived))
        #expect(
            try target.repository.referrers(
                "team/project", to: derived, after: nil, limit: 9, domain: .standard
            ).map(\.digest) == [about])
    }

    /// Puts an image into a name on top of which others can be; its digest.
    private func putBase(_ world: LocalWorld, _ name: String) throws -> Digest {
        let pusher = ImagePusher(world.store, name)
        let config = Array(
            "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
                .utf8)
        let layer = [UInt8](repeating: 0, count: 1_024)
        let whole =
            config
            + Array("\"diff_ids\":[\"\(Digest.of(layer))\"]}}".utf8)
        try pusher.blob(whole)
        try pusher.blob(layer)
        return try pusher.manifest(
            whole, [(.sha256(Digest.of(layer)), layer.count)], tags: ["v1"])
    }

    @Test func `the image below that of a snapshot comes along`() throws {
        let world = try LocalWorld()
        let base = try putBase(world, "team/base")
        try world.write("a", "1")
        _ = try world.push { $0.imageOptions = "base=team/base@\(base)" }
        let derived = try world.store.derived(world.ref)
        let target = try world.makeOther()
        let summary = try world.importing(try world.export([world.ref]), into: target)
        guard case .same(derived) = summary.refs[0].image else {
            Issue.record("\(String(describing: summary.refs[0].image))")
            return
        }
        #expect(try target.hasLink("team/base", base, .manifest))
        #expect(try target.ref(try RefName("team/base:v1")) == nil)
    }

    /// Copies a ref as `cas copy` does.
    private func copy(
        _ world: LocalWorld, to target: LocalStore, as name: String
    ) throws -> WarmSummary {
        let (entry, images) = try world.store.refWithImages(world.ref, takesImages: true)
        var options = TransferOptions(
            want: "\(world.ref.name)@\(entry.target.digest)", ref: try RefName(name),
            provenance: entry.provenance)
        options.images = NamedImage(
            name: world.ref.name, digest: images.derived ?? .zero, entry: entry, images: images)
        options.imageOptions = entry.imageOptions
        return try Transfer.run(
            options, from: world.store, to: target, counters: ProgressCounters())
    }

    @Test func `an image below in the same name goes along into the other name`() throws {
        let world = try LocalWorld()
        let base = try putBase(world, "team/project")
        let elsewhere = try putBase(world, "team/base")
        try world.write("a", "1")
        _ = try world.push { $0.imageOptions = "base=team/project@\(base)\nprefix=/app" }
        let derived = try world.store.derived(world.ref)
        let target = try world.makeOther()
        for isFirst in [true, false] {
            let summary = try copy(world, to: target, as: "mirror/x:v2")
            #expect(summary.isMoved == isFirst)
            let entry = try #require(try target.ref(try RefName("mirror/x:v2")))
            #expect(entry.imageOptions == "base=mirror/x@\(base)\nprefix=/app")
            #expect(try target.hasLink("mirror/x", base, .manifest))
            #expect(try !target.hasLink("team/project", base, .manifest))
            // It says where its base is, and so is another image.
            let made = try target.derived(entry.name)
            guard case .other(derived, made) = summary.image else {
                Issue.record("\(String(describing: summary.image))")
                return
            }
            #expect(made != derived)
            let manifest = try ImageManifest(
                decoding: try #require(try target.blobBytes(made)))
            #expect(manifest.layers.count == 2)
        }
        // Under its own name everything is as it was, and so is a base with another name.
        let same = try world.makeOther("same")
        guard case .same(derived) = try copy(world, to: same, as: "team/project").image else {
            Issue.record("the image is another one")
            return
        }
        _ = try world.push { $0.imageOptions = "base=team/base@\(elsewhere)" }
        _ = try world.store.derived(world.ref)
        guard case .same = try copy(world, to: target, as: "mirror/y").image else {
            Issue.record("the image is another one")
            return
        }
        #expect(try target.hasLink("team/base", elsewhere, .manifest))
    }

    @Test func `what is named by SHA-512 is found by that elsewhere`() throws {
        let world = try LocalWorld()
        let pusher = ImagePusher(world.store, "team/app")
        let config = Array("{}".utf8)
        let layer = SeededGenerator.text(seed: 9, count: 400_000)
        let alias = layer.withUnsafeBytes { SHA512Hasher.of($0) }
        try pusher.blob(config)
        try pusher.blob(layer, expecting: .sha512(alias))
        try pusher.manifest(config, [(.sha512(alias), layer.count)], tags: ["v1"]) { _ in
            Digest.of(layer)
        }
        let ref = try RefName("team/app:v1")
        let bytes = try world.export([ref])
        let target = try world.makeOther()
        _ = try world.importing(bytes, into: target)
        #expect(
            try target.repository.digest(alias: alias, domain: .standard) == Digest.of(layer))
        // Nobody may say of a blob that it has another one.
        var forged = try TakenApart(bytes)
        let index = try #require(
            forged.manifest.images[0].images[0].blobs.firstIndex { !$0.sha512.isEmpty })
        forged.manifest.images[0].images[0].blobs[index].sha512[0] ^= 1
        let third = try world.makeOther("third")
        let error = #expect(throws: CASError.self) {
            try world.importing(forged.bytes, into: third)
        }
        #expect(error?.code == .invalidArgument)
        #expect(try third.ref(ref) == nil)
    }

    @Test func `an image is copied to another store, only what that lacks`() throws {
        let (world, sample, ref) = try makeWorld()
        let target = try world.makeOther()
        try ImagePusher(target, "elsewhere").blob(sample.large)
        let found = try #require(try world.store.image(try Reference("team/app:v1")))
        var options = ImageTransferOptions(
            image: found, ref: try RefName("mirror/app:v2"), provenance: Provenance())
        options.precondition = .absent
        let counters = ProgressCounters()
        let summary = try ImageTransfer.run(
            options, from: world.store, to: target, counters: counters)
        #expect(summary.isMoved && summary.previous == nil && summary.all.files == 7)
        #expect(summary.misses.files == 6 && summary.sentBytes < 10_000, "\(summary)")
        try sample.check(target, as: "mirror/app")
        #expect(try !target.hasLink("team/app", sample.index, .manifest))
        options.precondition = .any
        let again = try ImageTransfer.run(
            options, from: world.store, to: target, counters: ProgressCounters())
        #expect(!again.isMoved && again.sentBytes == 0)
        options.precondition = .digest(.zero)
        #expect(throws: CASError.self) {
            try ImageTransfer.run(
                options, from: world.store, to: target, counters: ProgressCounters())
        }
        _ = try world.store.ref(ref)
    }

    @Test func `an image gets another name in its store`() throws {
        let (world, sample, _) = try makeWorld()
        let found = try #require(
            try world.store.image(try Reference("team/app@\(sample.index)")))
        let options = ImageTransferOptions(
            image: found, ref: try RefName("release/app:v1"), provenance: Provenance())
        let summary = try ImageTransfer.tag(options, in: world.store)
        #expect(summary.isMoved && summary.digest == sample.index)
        try sample.check(world.store, as: "release/app")
        #expect(try !ImageTransfer.tag(options, in: world.store).isMoved)
        #expect(try world.store.image(try Reference("no/such@\(sample.index)")) == nil)
    }
}
