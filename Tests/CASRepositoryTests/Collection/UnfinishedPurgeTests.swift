import CASCatalog
import CASCore
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// A purge is many transactions: what happens between any two of them, and after it stopped there.
@Suite struct UnfinishedPurgeTests {
    private struct Scene {
        let store: TestStore
        let gone: SampleTree
        let kept: SampleTree
        let request: MaintenanceRequest

        init() throws {
            store = try TestStore(.memory) { $0.limits.removedPerTransaction = 4 }
            var random = SeededGenerator(seed: 5)
            var folder = SampleFolder()
            let shared = random.bytes(300)
            for number in 0..<4 {
                folder.folders["f\(number)"] = SampleFolder(files: [
                    "a": .init(content: random.bytes(200)), "b": .init(content: random.bytes(200)),
                    "shared": .init(content: shared),
                ])
            }
            gone = try SampleTree(folder)
            folder.folders["f0"] = SampleFolder(files: ["shared": .init(content: shared)])
            folder.folders["f1"] = nil
            kept = try SampleTree(folder)
            try store.repository.push(gone, to: "team/gone")
            try store.repository.push(kept, to: "team/kept")
            try store.reopen()
            request = MaintenanceRequest(
                kind: .purge, ref: try RefName("team/gone"), reason: "licence")
        }

        var task: PurgeTask {
            get throws {
                var pace = CollectionPace()
                pace.rows = 6
                pace.directories = 3
                return try PurgeTask(store.repository, request, pace: pace, domain: .standard)
            }
        }

        /// What only the tree that goes has.
        var only: [Digest] { gone.allDigests.filter { !kept.allDigests.contains($0) }.sorted() }

        func expectGone(_ comment: Comment) throws {
            let reasons = try store.repository.catalog.read { reader in
                try reader.purged(only, domain: .standard)
            }
            #expect(reasons.allSatisfy { $0 == "licence" }, comment)
            #expect(
                try store.repository.ref(try RefName("team/gone"), domain: .standard) == nil,
                comment)
            #expect(try store.repository.unfinishedPurge() == nil, comment)
            for content in gone.files where !kept.files.keys.contains(content.key) {
                for pack in try store.packs() {
                    #expect(try !store.bytes(pack).contains(content.value), comment)
                }
            }
        }
    }

    @Test func `what a purge left at any step the next collection or purge does`() throws {
        var steps = 0
        var refused = 0
        var isOver = false
        while !isOver {
            let scene = try Scene()
            let task = try scene.task
            for _ in 0..<steps where try !task.step() { isOver = true }
            try scene.store.reopen(closing: steps % 2 == 0)
            let comment: Comment = "after \(steps) steps"
            let isRefused =
                try scene.store.repository.catalog.read {
                    try $0.purged([scene.gone.digest], domain: .standard)[0]
                } != nil
            if isRefused {
                refused += 1
                #expect(
                    try code { try scene.store.repository.push(scene.gone, to: "team/again") }
                        == .failedPrecondition, comment)
                if steps % 3 == 0 {
                    let other = MaintenanceRequest(
                        kind: .purge, digest: scene.kept.files.keys.sorted().first { $0 != .empty },
                        reason: "another")
                    let purge = try PurgeTask(scene.store.repository, other, domain: .standard)
                    while try purge.step() {}
                } else {
                    let collector = try Collector(scene.store.repository)
                    while try collector.step() {}
                    #expect(collector.progress.findings.isEmpty, comment)
                    try scene.kept.expectWhole(in: scene.store.repository, "team/kept", comment)
                }
                try scene.expectGone(comment)
            } else {
                try scene.gone.expectWhole(in: scene.store.repository, "team/gone", comment)
                try scene.kept.expectWhole(in: scene.store.repository, "team/kept", comment)
                // Notes of a purge that refused nothing are no purge.
                let collector = try Collector(scene.store.repository)
                while try collector.step() {}
                try scene.gone.expectWhole(in: scene.store.repository, "team/gone", comment)
            }
            steps += 1
        }
        #expect(refused > 8, "\(steps) steps")
    }

    @Test func `a push between any two steps of a purge is whole or refused`() throws {
        var number = 0
        var kept = 0
        var isOver = false
        while !isOver {
            let scene = try Scene()
            let task = try scene.task
            var random = SeededGenerator(seed: 9)
            // Has one of the directories that go, and a file of another.
            var folder = SampleFolder(files: ["new": .init(content: random.bytes(90))])
            folder.folders["f1"] = scene.gone.folder.folders["f1"]
            folder.folders["x"] = SampleFolder(files: [
                "a": try #require(scene.gone.folder.folders["f0"]?.files["a"])
            ])
            let tree = try SampleTree(folder)
            var steps = 0
            var isPushed = false
            var isGoing = true
            while isGoing {
                if steps == number {
                    do {
                        try scene.store.repository.push(tree, to: "team/new")
                        isPushed = true
                        kept += 1
                    } catch let error as CASError where error.code == .failedPrecondition {}
                }
                isGoing = try task.step()
                steps += 1
            }
            if steps < number { isOver = true }
            let comment: Comment = "before step \(number)"
            for _ in 0..<2 {
                if isPushed {
                    try tree.expectWhole(in: scene.store.repository, "team/new", comment)
                }
                try scene.kept.expectWhole(in: scene.store.repository, "team/kept", comment)
                scene.store.clock.advance(nanoseconds: 60 * 86_400_000_000_000)
                let collector = try Collector(scene.store.repository)
                while try collector.step() {}
            }
            number += 1
        }
        #expect(kept > 8 && kept < number, "\(kept) of \(number)")
    }
}
