import CASCatalog
import CASCore
import CASOCI
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// What of pushed manifests stays, and with what the rest goes.
@Suite struct HoldingTests {
    private static let name = "team/image"
    private static let day: UInt64 = 86_400_000_000_000
    private static let provenance = Provenance(author: "somebody")

    private func digest(_ text: String) -> Digest { Digest.of(Array(text.utf8)) }

    private func pass(_ store: TestStore, days: UInt64) throws {
        store.clock.advance(nanoseconds: days * Self.day)
        try store.repository.collectAll()
    }

    private func untag(_ store: TestStore, _ ref: String) throws {
        try store.repository.removeRef(
            try RefName(ref), .any, Self.provenance, domain: .standard)
    }

    /// Puts a manifest with a blob of its own.
    private func put(
        _ store: TestStore, _ text: String, tags: [String] = [], manifests: [String] = [],
        about: String? = nil, sha512: [UInt8]? = nil
    ) throws {
        let blob = try store.repository.uploadBlob(Array("blob of \(text)".utf8), to: Self.name)
        let result = try store.repository.put(Self.name, text, tags: tags, blobs: [blob]) {
            $0.isByDigest = tags.isEmpty
            $0.manifests = manifests.map(digest)
            $0.subject = about.map(digest)
            $0.sha512 = sha512
        }
        #expect(result == .done(digest(text)))
    }

    /// Whether a manifest is here with its blob; all of it, or nothing.
    private func isHere(_ store: TestStore, _ text: String) throws -> Bool {
        let isLinked = try store.repository.hasLink(Self.name, digest(text), .manifest)
        let bytes = try store.repository.blobBytes(digest(text))
        let blob = try store.repository.blobBytes(digest("blob of \(text)"))
        #expect((bytes != nil) == isLinked && (blob != nil) == isLinked, "\(text)")
        return isLinked
    }

    private func expect(
        _ store: TestStore, here: [String] = [], gone: [String] = [],
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        for text in here {
            #expect(try isHere(store, text), "\(text)", sourceLocation: location)
        }
        for text in gone {
            #expect(try !isHere(store, text), "\(text)", sourceLocation: location)
        }
    }

    private func expectEmpty(_ store: TestStore) throws {
        let count = try store.repository.catalog.read {
            try $0.locations(after: nil, limit: 1_000, domain: .standard).count
        }
        #expect(count == 0)
        #expect(
            try store.repository.repositories(after: nil, limit: 9, domain: .standard).isEmpty)
    }

    @Test(arguments: Storage.allCases, [true, false])
    func `a signed image goes with its last tag, and what is about it too`(
        _ storage: Storage, _ isSignedLater: Bool
    ) throws {
        for isRebuilt in [false, true] {
            let store = try TestStore(storage)
            let all = ["image", "signature", "sbom", "signature of sbom"]
            if isSignedLater { try put(store, "image", tags: ["v1", "v2"]) }
            try put(store, "signature", about: "image")
            try put(store, "sbom", about: "image")
            try put(store, "signature of sbom", about: "sbom")
            if !isSignedLater { try put(store, "image", tags: ["v1", "v2"]) }
            if isRebuilt { _ = try store.rebuild() }
            try pass(store, days: 20)
            try expect(store, here: all)
            try untag(store, "team/image:v1")
            try pass(store, days: 40)
            try expect(store, here: all)
            try untag(store, "team/image:v2")
            try pass(store, days: 20)
            // By the history of the tag.
            try expect(store, here: all)
            if isRebuilt { _ = try store.rebuild() }
            try pass(store, days: 20)
            try expect(store, gone: all)
            try pass(store, days: 1)
            try expectEmpty(store)
            // Bytes that no pack was rid of yet come back, links do not.
            _ = try store.rebuild()
            #expect(
                try store.repository.repositories(after: nil, limit: 9, domain: .standard).isEmpty)
        }
    }

    @Test func `what is about an image that is deleted by its digest goes, unless it is tagged`()
        throws
    {
        let store = try TestStore()
        try put(store, "image", tags: ["v1"])
        try put(store, "signature", about: "image")
        try put(store, "sbom", tags: ["bom"], about: "image")
        // What it is about never was here.
        try put(store, "loose", about: "nothing")
        #expect(
            try store.repository.unlink(
                Self.name, digest("image"), kind: .manifest, Self.provenance, domain: .standard)
                != nil)
        try pass(store, days: 40)
        try expect(store, here: ["sbom", "loose"], gone: ["image", "signature"])
        _ = try store.rebuild()
        try pass(store, days: 40)
        try expect(store, here: ["sbom", "loose"])
    }

    @Test(arguments: Storage.allCases)
    func `manifests of an index go with it, and stay while another one names them`(
        _ storage: Storage
    ) throws {
        let store = try TestStore(storage)
        for text in ["amd64", "arm64", "shared", "alone"] { try put(store, text) }
        try put(store, "signature of arm64", about: "arm64")
        try put(store, "inner", manifests: ["arm64"])
        try put(store, "index", tags: ["v1"], manifests: ["amd64", "inner", "shared"])
        try put(store, "other", tags: ["v2"], manifests: ["shared"])
        _ = try store.rebuild()
        try pass(store, days: 40)
        let parts = ["index", "amd64", "inner", "arm64", "signature of arm64"]
        try expect(store, here: parts + ["shared", "alone", "other"])
        try untag(store, "team/image:v1")
        try pass(store, days: 40)
        try expect(store, here: ["shared", "alone", "other"], gone: parts)
        _ = try store.rebuild()
        try pass(store, days: 400)
        try expect(store, here: ["shared", "alone", "other"])
        try untag(store, "team/image:v2")
        try pass(store, days: 40)
        try expect(store, here: ["alone"], gone: ["shared", "other"])
        #expect(
            try store.repository.unlink(
                Self.name, digest("alone"), kind: .manifest, Self.provenance, domain: .standard)
                != nil)
        try pass(store, days: 2)
        try pass(store, days: 1)
        try expectEmpty(store)
    }

    @Test func `what was pushed by digest and tagged goes with its last tag`() throws {
        let store = try TestStore()
        try put(store, "first by digest")
        try put(store, "first by digest", tags: ["a"])
        try put(store, "first by tag", tags: ["b"])
        try put(store, "first by tag")
        try put(store, "never tagged")
        try pass(store, days: 40)
        try expect(store, here: ["first by digest", "first by tag", "never tagged"])
        for tag in ["a", "b"] { try untag(store, "team/image:\(tag)") }
        try pass(store, days: 40)
        try expect(store, here: ["never tagged"], gone: ["first by digest", "first by tag"])
    }

    @Test func `what was pulled by digest stays for a while`() throws {
        let store = try TestStore()
        try put(store, "amd64")
        try put(store, "signature", about: "amd64")
        try put(store, "arm64")
        try put(store, "index", tags: ["v1"], manifests: ["amd64", "arm64"])
        try untag(store, "team/image:v1")
        store.clock.advance(nanoseconds: 29 * Self.day)
        store.repository.use(
            manifest: digest("amd64"), of: Self.name, isByDigest: true, domain: .standard)
        try pass(store, days: 10)
        try expect(store, here: ["amd64", "signature"], gone: ["index", "arm64"])
        try pass(store, days: 10)
        try pass(store, days: 1)
        try expectEmpty(store)
    }

    @Test func `what is about the image of a snapshot goes with that`() throws {
        let store = try TestStore()
        try store.repository.push(try SampleTree.random(5, largestFile: 9_000), to: Self.name)
        let image = try PulledImage(store.repository, "team/image")
        _ = try store.repository.put(Self.name, "signature") {
            $0.isByDigest = true
            $0.subject = image.digest
        }
        let signature = digest("signature")
        for _ in 0..<2 {
            try pass(store, days: 40)
            #expect(try store.repository.hasLink(Self.name, signature, .manifest))
            #expect(try store.repository.blobBytes(signature) != nil)
            _ = try store.rebuild()
        }
        let search = try RootSearch(store.repository, signature, domain: .standard)
        while try search.step() {}
        #expect(search.progress.findings.contains { $0.kind == "ref" })
        try untag(store, "team/image")
        try pass(store, days: 40)
        try pass(store, days: 1)
        try expectEmpty(store)
    }

    @Test func `a subject that was named by its SHA-512 before it came holds what is about it`()
        throws
    {
        let store = try TestStore()
        let sha512 = Array("image".utf8).withUnsafeBytes { SHA512Hasher.of($0) }
        _ = try store.repository.put(Self.name, "signature") {
            $0.isByDigest = true
            $0.subject = OCIDigest.sha512(sha512).stand
        }
        try put(store, "image", sha512: sha512)
        let found = try store.repository.referrers(
            Self.name, to: digest("image"), after: nil, limit: 9, domain: .standard)
        #expect(found.map(\.digest) == [digest("signature")])
        #expect(found.first?.isRoot == false)
        try pass(store, days: 2)
        #expect(try store.repository.hasLink(Self.name, digest("signature")))
        #expect(
            try store.repository.unlink(
                Self.name, digest("image"), kind: .manifest, Self.provenance, domain: .standard)
                != nil)
        try pass(store, days: 2)
        #expect(try !store.repository.hasLink(Self.name, digest("signature")))
    }

    @Test func `a quota counts what was pushed by digest alone`() throws {
        let store = try TestStore()
        var rule = RetentionRule(pattern: "team/*")
        rule.quota = 6_000
        _ = try store.repository.set(rule: rule, domain: .standard)
        var random = SeededGenerator(seed: 3)
        func put(_ text: String, _ count: Int, _ adjust: (inout NewManifest) -> Void = { _ in })
            throws
        {
            let blobs =
                count == 0
                ? [] : [try store.repository.uploadBlob(random.bytes(count), to: Self.name)]
            _ = try store.repository.put(Self.name, text, blobs: blobs) {
                $0.isByDigest = true
                adjust(&$0)
            }
        }
        try put("one", 2_500)
        try put("about one", 2_500) { $0.subject = digest("one") }
        #expect(try code { try put("two", 2_500) } == .resourceExhausted)
        #expect(try !store.repository.hasLink(Self.name, digest("two")))
        // A tag counts it from now on, with its own sum.
        try put("one", 0) { ($0.tags, $0.isByDigest) = (["v1"], false) }
        _ = try store.rebuild()
        try put("two", 2_500)
        #expect(try code { try put("three", 2_500) } == .resourceExhausted)
        try put("index", 0) { $0.manifests = [digest("two")] }
        #expect(try code { try put("three", 2_500) } == .resourceExhausted, "the index is alone")
        #expect(
            try store.repository.unlink(
                Self.name, digest("index"), kind: .manifest, Self.provenance, domain: .standard)
                != nil)
        try put("three", 2_500)
    }

    @Test func `why says by which tag a signature is kept`() throws {
        let store = try TestStore()
        try put(store, "image", tags: ["v1"])
        try put(store, "signature", about: "image")
        store.clock.advance(nanoseconds: 2 * Self.day)
        let search = try RootSearch(
            store.repository, digest("blob of signature"), domain: .standard)
        while try search.step() {}
        #expect(search.progress.findings.map(\.name) == ["team/image:v1"])
    }
}
