import CASCore
import CASOCI
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// What is uploaded, linked and put while a collection runs.
@Suite struct LiveImageCollectionTests {
    private static let name = "team/image"
    private static let day: UInt64 = 86_400_000_000_000

    /// Blobs of several chunks and of one, that have nothing in common.
    private func blobs(_ count: Int, _ seed: UInt64) -> [[UInt8]] {
        var random = SeededGenerator(seed: seed)
        return (0..<count).map { random.bytes($0 % 2 == 0 ? 12_000 : 900) }
    }

    /// Lets all protected windows pass, but not histories.
    private func wait(_ store: TestStore, days: UInt64 = 2) {
        store.clock.advance(nanoseconds: days * Self.day)
    }

    @Test(arguments: Storage.allCases)
    func `an upload that goes on beside a collection and then rests loses nothing`(
        _ storage: Storage
    ) throws {
        let store = try TestStore(storage)
        var random = SeededGenerator(seed: 22)
        let old = random.bytes(20_000)
        try store.repository.uploadBlob(old, to: "team/other")
        wait(store)
        let running = try store.repository.beginUpload(Self.name, domain: .standard)
        let parts = [random.bytes(20_000), random.bytes(20_000), old]
        try store.repository.appendBlob(parts[0], to: Self.name, running)
        func rest() {
            store.clock.advance(nanoseconds: store.repository.limits.pushIdleNanoseconds + 1)
        }
        rest()
        var run = CollectionRun(
            store.repository, isDryRun: false, pace: CollectionPace(), domain: .standard, use: nil)
        while run.phase != .mark { _ = try run.step() }
        // It was looked at before it got this.
        try store.repository.appendBlob(parts[1], to: Self.name, running)
        rest()
        while run.phase != .delete { _ = try run.step() }
        // This is here, and condemned.
        try store.repository.appendBlob(parts[2], to: Self.name, running)
        rest()
        while try run.step() {}
        let whole = parts.flatMap(\.self)
        let digest = try store.repository.finishUpload(
            Self.name, running, expecting: .sha256(Digest.of(whole)), domain: .standard)
        #expect(try store.repository.blobBytes(digest) == whole)
    }

    @Test func `what is linked or put while a collection runs stays, at any of its steps`() throws {
        for step in 0..<60 {
            let store = try TestStore()
            let contents = blobs(3, 41)
            let other = try SampleTree.random(41)
            try store.repository.push(other, to: "team/other")
            let digests = try contents.map { try store.repository.uploadBlob($0, to: "team/old") }
            wait(store)
            let collector = try Collector(store.repository)
            var isMore = true
            for _ in 0..<step where isMore { isMore = try collector.step() }
            // Known to the store, and kept by nothing: the answers have to be true until the manifest.
            if try store.repository.hasLink("team/old", digests[0]) {
                #expect(
                    try store.repository.mount(
                        digests[0], from: "team/old", to: Self.name, domain: .standard))
            } else {
                try store.repository.uploadBlob(contents[0], to: Self.name)
            }
            for content in contents[1...] {
                try store.repository.uploadBlob(content, to: Self.name)
            }
            let result = try store.repository.put(Self.name, "one", tags: ["a"], blobs: digests)
            #expect(result == .done(Digest.of(Array("one".utf8))), "step \(step)")
            while isMore { isMore = try collector.step() }
            wait(store)
            try store.repository.collectAll()
            for (digest, content) in zip(digests, contents) {
                #expect(try store.repository.blobBytes(digest) == content, "step \(step)")
            }
        }
    }

    @Test func `an upload that goes on while a collection runs loses nothing`() throws {
        let content = blobs(1, 51)[0]
        for step in stride(from: 0, to: 60, by: 3) {
            let store = try TestStore()
            // The same chunks, kept by nothing.
            try store.repository.uploadBlob(content, to: "team/old")
            wait(store)
            let upload = try store.repository.beginUpload(Self.name, domain: .standard)
            let collector = try Collector(store.repository)
            var isMore = true
            for _ in 0..<step where isMore { isMore = try collector.step() }
            try store.repository.appendBlob(Array(content[..<8_000]), to: Self.name, upload)
            while isMore { isMore = try collector.step() }
            try store.repository.collectAll()
            try store.reopen(closing: step % 2 == 0)
            try store.repository.collectAll()
            try store.repository.appendBlob(Array(content[8_000...]), to: Self.name, upload)
            let digest = try store.repository.finishUpload(
                Self.name, upload, expecting: .sha256(Digest.of(content)), domain: .standard)
            #expect(try store.repository.blobBytes(digest) == content, "step \(step)")
        }
    }
}
