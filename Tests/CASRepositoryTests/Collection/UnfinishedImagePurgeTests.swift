import CASCatalog
import CASCore
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// A purge of a pushed image that stops between any two of its steps.
@Suite struct UnfinishedImagePurgeTests {
    private struct Scene {
        static let day: UInt64 = 86_400_000_000_000
        let store: TestStore
        /// Blobs that only the image has which goes, and that another one has too.
        let only: [Digest: [UInt8]]
        let shared: [Digest: [UInt8]]
        let target = Digest.of(Array("gone".utf8))
        let signature = Digest.of(Array("signature".utf8))

        /// An image that was pushed long ago, or just now.
        init(isRecent: Bool = false) throws {
            store = try TestStore(.memory) { $0.limits.removedPerTransaction = 4 }
            let repository = store.repository
            var random = SeededGenerator(seed: 6)
            func blobs(_ counts: [Int]) throws -> [Digest: [UInt8]] {
                var found: [Digest: [UInt8]] = [:]
                for count in counts {
                    let bytes = random.bytes(count)
                    found[try repository.uploadBlob(bytes, to: "team/image")] = bytes
                }
                return found
            }
            only = try blobs([9_000, 300, 200, 250, 80])
            shared = try blobs([5_000, 200])
            _ = try store.repository.put(
                "team/image", "gone", tags: ["a", "b"],
                blobs: (Array(only.keys) + shared.keys).sorted())
            _ = try store.repository.put("team/image", "signature") {
                $0.subject = Digest.of(Array("gone".utf8))
                $0.isByDigest = true
            }
            _ = try store.repository.put(
                "team/image", "kept", tags: ["c"], blobs: shared.keys.sorted())
            if !isRecent { store.clock.advance(nanoseconds: 2 * Scene.day) }
            try store.reopen()
        }

        var task: PurgeTask {
            get throws {
                var pace = CollectionPace()
                pace.rows = 6
                pace.directories = 3
                return try PurgeTask(
                    store.repository,
                    MaintenanceRequest(kind: .purge, digest: target, reason: "licence"),
                    pace: pace, domain: .standard)
            }
        }

        func expectKept(_ comment: Comment) throws {
            let kept = Digest.of(Array("kept".utf8))
            #expect(try store.repository.hasLink("team/image", kept, .manifest), comment)
            let lacking = try store.repository.catalog.read {
                try store.repository.lacking(inImage: kept, $0, .standard)
            }
            #expect(lacking.isEmpty, comment)
            for (digest, bytes) in shared {
                #expect(try store.repository.blobBytes(digest) == bytes, comment)
                #expect(try store.repository.hasLink("team/image", digest, .blob), comment)
            }
        }

        func expectGone(_ comment: Comment) throws {
            let digests = only.keys.sorted() + [target, signature]
            let reasons = try store.repository.catalog.read {
                try $0.purged(digests, domain: .standard)
            }
            #expect(reasons.allSatisfy { $0 == "licence" }, comment)
            for digest in digests {
                #expect(try store.repository.blobBytes(digest) == nil, comment)
                #expect(try !store.repository.hasLink("team/image", digest), comment)
            }
            let refs = try store.repository.refs(
                prefix: "", after: nil, limit: 9, domain: .standard)
            #expect(refs.map(\.name.tag) == ["c"], comment)
            #expect(try store.repository.unfinishedPurge() == nil, comment)
            for content in only.values {
                for pack in try store.packs() {
                    #expect(try !store.bytes(pack).contains(content.prefix(60)), comment)
                }
            }
        }
    }

    @Test(arguments: [false, true], [false, true])
    func `what a purge of an image left at any step the next collection or purge does`(
        isRebuilt: Bool, isRecent: Bool
    ) throws {
        var steps = 0
        var refused = 0
        var isOver = false
        while !isOver {
            let scene = try Scene(isRecent: isRecent)
            let task = try scene.task
            for _ in 0..<steps where try !task.step() { isOver = true }
            try scene.store.reopen(closing: steps % 2 == 0)
            let comment: Comment = "after \(steps) steps"
            let repository = scene.store.repository
            let isRefused =
                try repository.catalog.read {
                    try $0.purged([scene.target], domain: .standard)[0]
                } != nil
            if isRefused {
                refused += 1
                #expect(
                    try code { _ = try repository.put("team/image", "gone", tags: ["d"]) }
                        == .failedPrecondition, comment)
                if steps % 3 == 0 {
                    _ = try repository.put("team/other", "other")
                    let other = try PurgeTask(
                        repository,
                        MaintenanceRequest(
                            kind: .purge, digest: Digest.of(Array("other".utf8)),
                            reason: "another"), domain: .standard)
                    while try other.step() {}
                } else {
                    #expect(try repository.collectAll().findings.isEmpty, comment)
                }
                if isRebuilt { _ = try scene.store.rebuild() }
                try scene.expectGone(comment)
            } else {
                // Notes of a purge that refused nothing are no purge.
                try repository.collectAll()
                if isRebuilt { _ = try scene.store.rebuild() }
                for (digest, bytes) in scene.only {
                    #expect(try scene.store.repository.blobBytes(digest) == bytes, comment)
                }
            }
            try scene.expectKept(comment)
            steps += 1
        }
        #expect(refused > 8, "\(steps) steps")
    }

    @Test(arguments: [false, true])
    func `what its name relies on once a purge began stays, whether or not it is interrupted`(
        isKilled: Bool
    ) throws {
        let scene = try Scene(isRecent: true)
        let task = try scene.task
        while try scene.store.repository.unfinishedPurge() == nil { _ = try task.step() }
        if isKilled { try scene.store.reopen(closing: false) }
        scene.store.clock.advance(nanoseconds: 5_000_000_000)
        let (digest, bytes) = try #require(scene.only.min { $0.key < $1.key })
        let repository = scene.store.repository
        try repository.uploadBlob(bytes, to: "team/image")
        if isKilled {
            try repository.collectAll()
        } else {
            while try task.step() {}
        }
        let reasons = try repository.catalog.read {
            try $0.purged(scene.only.keys.sorted(), domain: .standard)
        }
        #expect(reasons.count { $0 == nil } == 1)
        #expect(try repository.blobBytes(digest) == bytes)
        #expect(try repository.hasLink("team/image", digest, .blob))
        try scene.expectKept("killed: \(isKilled)")
    }

    @Test func `an image whose configuration or layer goes is not made again`() throws {
        for part in 0..<2 {
            for isKilled in [false, true] {
                let store = try TestStore()
                try store.repository.push(
                    try SampleTree.random(7, largestFile: 9_000), to: "team/a")
                let image = try PulledImage(store.repository, "team/a")
                let record = try #require(
                    try store.repository.catalog.read {
                        try $0.derivedImages(after: nil, limit: 1, domain: .standard).first
                    })
                let layer = try store.repository.uploadBlob(image.layers[0], to: "team/b")
                let target = part == 0 ? record.config : layer
                let task = try PurgeTask(
                    store.repository,
                    MaintenanceRequest(kind: .purge, digest: target, reason: "licence"),
                    domain: .standard)
                var isMore = true
                while isMore {
                    isMore = try task.step()
                    let isRefused = try store.repository.unfinishedPurge() != nil
                    if isKilled, isRefused { break }
                }
                if isKilled {
                    try store.reopen(closing: false)
                    try store.repository.collectAll()
                }
                let reasons = try store.repository.catalog.read {
                    try $0.purged([target, record.manifest], domain: .standard)
                }
                #expect(reasons == ["licence", "licence"], "part \(part), killed \(isKilled)")
                let entry = try #require(
                    try store.repository.ref(try RefName("team/a"), domain: .standard))
                let repository = store.repository
                #expect(
                    try code { _ = try repository.derivedManifest(entry, domain: .standard) }
                        == .failedPrecondition)
            }
        }
    }
}
