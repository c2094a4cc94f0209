import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

/// Scrubs of stores whose bytes are not what they were.
@Suite struct ScrubTests {
    /// Does all of a scrub.
    static func scrub(_ repository: Repository, isReport: Bool = false) throws
        -> MaintenanceProgress
    {
        let task = repository.scrub(isReport: isReport, domain: .standard)
        while try task.step() {}
        return task.progress
    }

    private func kinds(_ progress: MaintenanceProgress) -> Set<String> {
        Set(progress.findings.map(\.kind))
    }

    @Test(arguments: Storage.allCases)
    func `finds nothing in a sound store and changes nothing`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let trees = try (0..<4).map { try SampleTree.random(UInt64(700 + $0)) }
        for (index, tree) in trees.enumerated() {
            try store.repository.push(tree, to: "project-\(index)")
            if index == 1 { try store.reopen() }
        }
        let progress = try ScrubTests.scrub(store.repository)
        #expect(progress.findings.isEmpty, "\(progress.findings)")
        #expect(progress["findings"] == 0 && progress["affectedRefs"] == 0)
        #expect(progress["refs"] == 4 && progress["packs"] >= 3)
        #expect(progress.movedBytes == progress["readBytes"] && progress.movedBytes > 10_000)
        for (index, tree) in trees.enumerated() {
            try tree.expectWhole(in: store.repository, "project-\(index)")
        }
    }

    /// What a pack holds at an offset decides what a scrub has to say of a changed byte there.
    private func damage(
        _ tree: SampleTree, _ store: TestStore, _ path: String, _ offset: Int
    ) throws {
        let comment: Comment = "byte \(offset) of \(path)"
        try store.change(path) { $0[offset] ^= 1 << UInt8(offset % 8) }
        let found = try ScrubTests.scrub(store.repository)
        #expect(!found.findings.isEmpty, comment)
        // The same content, unchanged, from a client that believes the store to be whole.
        #expect(
            try store.repository.push(tree, try TestPush("project")).outcome != .missing, comment)
        let fetched = try Fetched(store.repository, "project")
        #expect(try fetched.folder() == tree.folder, comment)
        // Recorded state was repeated elsewhere; the header of a pack in use is left.
        let again = try ScrubTests.scrub(store.repository)
        #expect(
            kinds(again).isSubset(of: offset < PackHeader.byteCount ? ["header"] : []),
            "\(again.findings), \(comment)")
        #expect(again["affectedRefs"] == 0, comment)
    }

    private static var stride: Int { TestForm.isFull ? 1 : 41 }

    @Test(arguments: [false, true])
    func `finds any changed byte, and an unchanged push heals it`(_ isSealed: Bool) throws {
        let tree = try DamageTests.smallTree()
        let model = try TestStore()
        try model.repository.push(tree, to: "project")
        if isSealed { try model.reopen() }
        let sizes = try model.packs().map { try model.bytes($0).count }.sorted()
        #expect(sizes.count == 3)
        for (index, size) in sizes.enumerated() {
            for offset in Swift.stride(from: index, to: size, by: ScrubTests.stride) {
                let store = try TestStore()
                try store.repository.push(tree, to: "project")
                if isSealed { try store.reopen() }
                let path = try #require(
                    try store.packs().first { try store.bytes($0).count == size })
                try damage(tree, store, path, offset)
            }
        }
    }

    @Test func `recorded state that is damaged comes back from the catalog`() throws {
        let tree = try DamageTests.smallTree()
        for isSealed in [false, true] {
            let store = try TestStore()
            try store.repository.push(tree, to: "project")
            let token = try store.repository.createToken(
                TokenRequest(name: "one", scopes: [.all], expires: nil))
            if isSealed { try store.reopen() }
            var changed = 0
            for path in try store.packs() {
                try store.change(path) { bytes in
                    guard let range = bytes.firstRange(of: Array("project:latest".utf8)) else {
                        return
                    }
                    bytes[range.lowerBound] ^= 1
                    changed += 1
                }
            }
            #expect(changed == 1)
            let found = try ScrubTests.scrub(store.repository)
            #expect(found.findings.map(\.kind) == ["event"] && found["recordedAnew"] == 1)
            #expect(try ScrubTests.scrub(store.repository).findings.isEmpty)
            _ = try store.rebuild()
            try tree.expectWhole(in: store.repository, "project")
            #expect(try store.repository.authenticate(token.secret) == token.record)
        }
    }

    @Test func `packs with a damaged header or footer are written anew`() throws {
        let tree = try DamageTests.smallTree()
        for index in 0..<3 {
            for isHeader in [false, true] {
                let store = try TestStore()
                try store.repository.push(tree, to: "project")
                try store.reopen()
                let path = try store.packs()[index]
                try store.change(path) { $0[isHeader ? 20 : $0.count - 40] ^= 4 }
                let found = try ScrubTests.scrub(store.repository)
                #expect(kinds(found) == [isHeader ? "header" : "footer"])
                #expect(try !store.packs().contains(path))
                #expect(try ScrubTests.scrub(store.repository).findings.isEmpty)
                let report = try store.rebuild()
                #expect(report.damaged == 0 && report.unreadable.isEmpty)
                try tree.expectWhole(in: store.repository, "project")
            }
        }
    }

    @Test func `heals a store on a disk, in sealed packs`() throws {
        let tree = try DamageTests.smallTree()
        let store = try TestStore(.disk)
        try store.repository.push(tree, to: "project")
        try store.reopen()
        for path in try store.packs() {
            let count = try store.bytes(path).count
            for offset in Swift.stride(from: 70, to: count, by: 397) {
                try store.change(path) { $0[offset] ^= 1 }
                _ = try ScrubTests.scrub(store.repository)
                try store.repository.push(tree, to: "project")
                #expect(try Fetched(store.repository, "project").folder() == tree.folder)
            }
        }
    }

    @Test(arguments: Storage.allCases)
    func `a pack that is gone or cut short is found, and a push heals it`(
        _ storage: Storage
    ) throws {
        let tree = try DamageTests.smallTree()
        for index in 0..<3 {
            for keep in [0, 200] {
                let store = try TestStore(storage)
                try store.repository.push(tree, to: "project")
                try store.reopen()
                let path = try store.packs()[index]
                if keep == 0 {
                    try store.remove(path)
                } else {
                    try store.change(path) { $0.removeLast(max(0, $0.count - keep)) }
                }
                let found = try ScrubTests.scrub(store.repository)
                #expect(!found.findings.isEmpty)
                try store.repository.push(tree, to: "project")
                #expect(try Fetched(store.repository, "project").folder() == tree.folder)
                #expect(try ScrubTests.scrub(store.repository).findings.isEmpty)
            }
        }
    }

    @Test func `a volume that is not mounted takes nothing out of use`() throws {
        let store = try TestStore(.objects)
        let tree = try DamageTests.smallTree()
        try store.repository.push(tree, to: "project")
        try store.reopen()
        let objects = store.objects.names.map { ($0, store.objects[$0]) }
        for (name, _) in objects { store.objects[name] = nil }
        #expect(
            try code { _ = try ScrubTests.scrub(store.repository) } == .failedPrecondition)
        for (name, bytes) in objects { store.objects[name] = bytes }
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `locations that point nowhere are found`() throws {
        let store = try TestStore()
        let tree = try DamageTests.smallTree()
        try store.repository.push(tree, to: "project")
        let content = try #require(tree.folder.files["small"]?.content)
        let digest = Digest.of(content)
        try store.memoryCatalog.write { change in
            var place = try #require(try change.location(of: digest, domain: .standard))
            place.offset += 8
            try change.remove(locations: [digest], domain: .standard)
            try change.insert(locations: [(digest, place)], domain: .standard)
        }
        let found = try ScrubTests.scrub(store.repository)
        #expect(found.findings.first?.kind == "location", "\(found.findings)")
        #expect(found.findings.first?.digest == digest)
        try store.repository.push(tree, to: "project")
        try tree.expectWhole(in: store.repository, "project")
        #expect(try ScrubTests.scrub(store.repository).findings.isEmpty)
    }

    @Test func `a chunk list that lacks chunks is found`() throws {
        let store = try TestStore()
        let tree = try DamageTests.smallTree()
        try store.repository.push(tree, to: "project")
        let records = try SampleRecords(store.repository.chunker)
        let content = try #require(tree.folder.files["large"]?.content)
        let chunk = try #require(records.list(content).chunks.first)
        try store.memoryCatalog.write {
            try $0.remove(locations: [chunk], domain: .standard)
        }
        let found = try ScrubTests.scrub(store.repository)
        #expect(
            found.findings.contains { $0.kind == "chunks" && $0.digest == Digest.of(content) })
        let missing = try store.repository.missing(
            [Digest.of(content)], push: .random(), domain: .standard)
        #expect(missing == [true])
        try store.repository.push(tree, to: "project")
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `a report names the refs that lack something, and where`() throws {
        let store = try TestStore()
        let tree = try DamageTests.smallTree()
        let other = try SampleTree.random(710)
        try store.repository.push(tree, to: "project")
        try store.repository.push(tree, to: "project:same")
        try store.repository.push(other, to: "other")
        let text = try #require(tree.folder.folders["inner"]?.files["text"]?.content)
        try store.memoryCatalog.write { change in
            try change.remove(locations: [Digest.of(text)], domain: .standard)
            try change.forgetCompleteness(domain: .standard)
        }
        let report = try ScrubTests.scrub(store.repository, isReport: true)
        #expect(report["refs"] == 3 && report["affectedRefs"] == 2)
        #expect(report.movedBytes == 0)
        #expect(
            report.findings.map { "\($0.kind) \($0.name) \($0.text)" } == [
                "ref project:latest lacks 1 blob", "lacks project:latest inner/text",
                "ref project:same lacks 1 blob", "lacks project:same inner/text",
            ])
        #expect(report.findings[1].digest == Digest.of(text))
        let isComplete = try store.memoryCatalog.read {
            try $0.completeSnapshot(other.digest, domain: .standard)
        }
        #expect(isComplete, "what is whole is known to be so again")
        try store.repository.push(tree, to: "project")
        #expect(try ScrubTests.scrub(store.repository, isReport: true).findings.isEmpty)
    }
}
