import CASCore
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// Links, manifests and their tags.
@Suite struct LinkTests {
    private static let name = "team/image"
    private static let provenance = Provenance(author: "somebody")

    @Test(arguments: Storage.allCases)
    func `a manifest is put with its tags, and comes back after a rebuild`(
        _ storage: Storage
    ) throws {
        let store = try TestStore(storage)
        let blob = try store.repository.uploadBlob(Array("layer".utf8), to: Self.name)
        let text = #"{"schemaVersion":2}"#
        let digest = Digest.of(Array(text.utf8))
        let sha512 = Array(text.utf8).withUnsafeBytes { SHA512Hasher.of($0) }
        let result = try store.repository.put(
            Self.name, text, tags: ["v1", "latest", "v1"], blobs: [blob]
        ) { $0.sha512 = sha512 }
        #expect(result == .done(digest))
        for round in 0..<3 {
            let link = try #require(
                try store.repository.link(Self.name, digest, domain: .standard))
            #expect(link.kind == .manifest && link.parts == [blob] && !link.isRoot)
            #expect(link.mediaType == "application/vnd.oci.image.manifest.v1+json")
            #expect(try store.repository.blobBytes(digest) == Array(text.utf8))
            let entry = try store.repository.ref(
                try RefName(name: Self.name, tag: "v1"), domain: .standard)
            #expect(entry?.target == RefTarget(kind: .manifest, digest: digest))
            #expect(entry?.totals?.bytes == UInt64(text.utf8.count + 5))
            #expect(try store.repository.digest(alias: sha512, domain: .standard) == digest)
            #expect(try store.repository.hasLink(Self.name, blob))
            if round == 0 { try store.reopen() } else { _ = try store.rebuild() }
        }
        #expect(
            try store.repository.history(
                try RefName(name: Self.name, tag: "v1"), before: nil, limit: 9, domain: .standard
            ).count == 1, "putting it twice in one request moves a tag once")
    }

    @Test func `what a manifest names has to be linked in its repository`() throws {
        let repository = try TestStore().repository
        let here = try repository.uploadBlob([1], to: Self.name)
        let elsewhere = try repository.uploadBlob([2], to: "team/other")
        let nowhere = Digest.of([3])
        #expect(
            try repository.put(Self.name, "{}", tags: ["a"], blobs: [here, elsewhere, nowhere])
                == .missing([elsewhere, nowhere]))
        #expect(
            try repository.ref(try RefName(name: Self.name, tag: "a"), domain: .standard) == nil)
        #expect(try !repository.hasLink(Self.name, Digest.of(Array("{}".utf8))))
        #expect(
            try repository.mount(elsewhere, from: "team/other", to: Self.name, domain: .standard))
        #expect(
            try !repository.mount(nowhere, from: "team/other", to: Self.name, domain: .standard))
        #expect(
            try repository.linkedAnywhere(elsewhere, limit: 9, domain: .standard)
                == [Self.name, "team/other"])
        let child = try repository.put(Self.name, "{}", blobs: [here, elsewhere]) {
            $0.optional = [nowhere]
            $0.isByDigest = true
        }
        guard case .done(let digest) = child else { throw CASError(.unknown, "\(child)") }
        let index = try repository.put(Self.name, "index", tags: ["a"]) {
            $0.manifests = [digest, here]
        }
        #expect(index == .done(Digest.of(Array("index".utf8))))
        // A manifest is a blob to who says so.
        #expect(
            try repository.put(Self.name, "of a manifest", blobs: [digest])
                == .done(Digest.of(Array("of a manifest".utf8))))
        #expect(
            try repository.put("team/other", "index", tags: ["a"]) { $0.manifests = [digest] }
                == .missing([digest]))
    }

    @Test func `unlinking a manifest takes its tags at once, and blobs only from one name`() throws
    {
        let store = try TestStore()
        let repository = store.repository
        let blob = try repository.uploadBlob([1], to: Self.name)
        _ = try repository.mount(blob, from: Self.name, to: "team/other", domain: .standard)
        _ = try repository.put(Self.name, "one", tags: ["a", "b"], blobs: [blob])
        _ = try repository.put(Self.name, "two", tags: ["c"], blobs: [blob])
        let digest = Digest.of(Array("one".utf8))
        #expect(
            try repository.unlink(
                Self.name, digest, kind: .blob, Self.provenance, domain: .standard) == nil)
        #expect(
            try repository.unlink(
                Self.name, digest, kind: .manifest, Self.provenance, domain: .standard)?
                .map(\.tag) == ["a", "b"])
        #expect(
            try repository.unlink(
                Self.name, digest, kind: .manifest, Self.provenance, domain: .standard) == nil)
        let names = try repository.refs(prefix: Self.name, after: nil, limit: 9, domain: .standard)
        #expect(names.map(\.name.tag) == ["c"])
        #expect(try !repository.hasLink(Self.name, digest))
        #expect(
            try repository.unlink(Self.name, blob, kind: .blob, Self.provenance, domain: .standard)
                == [])
        #expect(try !repository.hasLink(Self.name, blob))
        #expect(try repository.hasLink("team/other", blob))
        _ = try store.rebuild()
        #expect(try !store.repository.hasLink(Self.name, digest))
        #expect(try !store.repository.hasLink(Self.name, blob))
        #expect(try store.repository.hasLink("team/other", blob))
    }

    @Test func `preconditions, rules and quotas hold for tags`() throws {
        let repository = try TestStore().repository
        let blob = try repository.uploadBlob(Array(repeating: 9, count: 5_000), to: Self.name)
        #expect(
            try repository.put(Self.name, "one", tags: ["v1"], blobs: [blob]) {
                $0.precondition = .absent
            } == .done(Digest.of(Array("one".utf8))))
        #expect(
            try repository.put(Self.name, "two", tags: ["v1", "v2"]) { $0.precondition = .absent }
                == .conflict)
        #expect(
            try repository.ref(try RefName(name: Self.name, tag: "v2"), domain: .standard) == nil)
        var rule = RetentionRule(pattern: "team/*")
        rule.onceTags = ["v*"]
        rule.quota = 6_000
        _ = try repository.set(rule: rule, domain: .standard)
        #expect(
            try code { _ = try repository.put(Self.name, "two", tags: ["v1"]) }
                == .failedPrecondition)
        #expect(
            try code {
                _ = try repository.unlink(
                    Self.name, Digest.of(Array("one".utf8)), kind: .manifest, Self.provenance,
                    domain: .standard)
            } == .failedPrecondition)
        let large = try repository.uploadBlob(Array(repeating: 8, count: 4_000), to: Self.name)
        #expect(
            try code { _ = try repository.put(Self.name, "two", tags: ["x"], blobs: [large]) }
                == .resourceExhausted)
        #expect(
            try repository.put(Self.name, "one", tags: ["x"], blobs: [blob])
                == .done(Digest.of(Array("one".utf8))), "the same image again costs nothing")
    }

    @Test func `referrers are found by what they are about`() throws {
        let store = try TestStore()
        let subject = Digest.of(Array("subject".utf8))
        var expected: [Digest] = []
        for index in 0..<5 {
            let text = "about \(index)"
            expected.append(Digest.of(Array(text.utf8)))
            _ = try store.repository.put(Self.name, text) {
                $0.subject = subject
                $0.artifactType = "application/x.\(index)"
                $0.isByDigest = true
            }
        }
        _ = try store.repository.put("team/other", "about 9") { $0.subject = subject }
        for round in 0..<2 {
            let first = try store.repository.referrers(
                Self.name, to: subject, after: nil, limit: 3, domain: .standard)
            let rest = try store.repository.referrers(
                Self.name, to: subject, after: first.last?.digest, limit: 3, domain: .standard)
            #expect((first + rest).map(\.digest) == expected.sorted())
            #expect(first.allSatisfy { $0.artifactType.hasPrefix("application/x.") })
            if round == 0 { _ = try store.rebuild() }
        }
    }

    @Test func `what is out of bounds is refused`() throws {
        let repository = try TestStore().repository
        #expect(try code { _ = try repository.put("Team", "x") } == .invalidArgument)
        #expect(
            try code { _ = try repository.put(Self.name, "x", tags: ["-"]) } == .invalidArgument)
        #expect(try code { _ = try repository.put(Self.name, "") } == .resourceExhausted)
        #expect(
            try code { _ = try repository.beginUpload("a//b", domain: .standard) }
                == .invalidArgument)
        let tags = (0..<65).map { "t\($0)" }
        #expect(
            try code { _ = try repository.put(Self.name, "x", tags: tags) } == .resourceExhausted)
        #expect(
            try code {
                _ = try repository.put(Self.name, String(repeating: "x", count: 4 << 20 + 1))
            } == .resourceExhausted)
    }
}
