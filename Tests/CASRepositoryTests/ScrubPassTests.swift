import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Synchronization
import Testing

/// Scrubs that take their time, beside others and on disks that fail.
@Suite struct ScrubPassTests {
    @Test func `a background pass goes on after a restart, and the next one waits`() throws {
        let store = try TestStore { $0.packBytes = 2 << 10 }
        for index in 0..<3 {
            try store.repository.push(
                try SampleTree.random(UInt64(720 + index)), to: "project-\(index)")
        }
        try store.reopen()
        let all = try ScrubTests.scrub(store.repository)["packs"]
        #expect(all > 4)
        let first = try #require(
            try store.repository.backgroundScrub(every: 1000, domain: .standard))
        while first.progress["packs"] < 2 { #expect(try first.step()) }
        #expect(first.fraction > 0 && first.fraction < 1)
        try store.reopen()
        let second = try #require(
            try store.repository.backgroundScrub(every: 1000, domain: .standard))
        while try second.step() {}
        #expect(second.progress["packs"] == all - 2, "what was read is not read again")
        #expect(second.fraction == 1)
        #expect(try store.repository.backgroundScrub(every: 1000, domain: .standard) == nil)
        store.clock.advance(nanoseconds: 1_001_000_000_000)
        #expect(try store.repository.backgroundScrub(every: 1000, domain: .standard) != nil)
    }

    @Test func `a pass in the background takes its time, and says what it finds`() throws {
        let store = try TestStore { $0.packBytes = 2 << 10 }
        let tree = try DamageTests.smallTree()
        for index in 0..<3 {
            try store.repository.push(
                try SampleTree.random(UInt64(740 + index)), to: "project-\(index)")
        }
        try store.repository.push(tree, to: "project")
        try store.reopen()
        let content = try #require(tree.folder.files["small"]?.content)
        for path in try store.packs() {
            try store.change(path) { bytes in
                if let range = bytes.firstRange(of: content) { bytes[range.lowerBound] ^= 1 }
            }
        }
        let found = Mutex<[String]>([])
        let pace = ScrubPace(seconds: 10_000) { finding in
            found.withLock { $0.append(finding.kind) }
        }
        var slices = 0
        var hours = 0
        while try store.repository.backgroundScrub(every: 10_000, domain: .standard) != nil {
            if let slice = try pace.slice(store.repository) {
                slices += 1
                while try slice.step() {}
                #expect(try pace.slice(store.repository) == nil, "the rest is not due yet")
            }
            store.clock.advance(nanoseconds: 500 * 1_000_000_000)
            hours += 1
            guard hours < 100 else { break }
        }
        #expect(slices > 3 && hours > 15 && hours < 25, "\(slices) slices, \(hours) looks")
        #expect(found.withLock { $0 } == ["record", "ref", "lacks"])
        try store.repository.push(tree, to: "project")
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `any read may fail for a while, and nothing is taken out of use`() throws {
        let store = try TestStore()
        let tree = try DamageTests.smallTree()
        try store.repository.push(tree, to: "project")
        try store.reopen()
        for number in 0..<40 {
            store.simulated.inject(
                .error(CASError(.unavailable, "away")), at: number, kinds: [.read])
            do {
                #expect(try ScrubTests.scrub(store.repository).findings.isEmpty)
            } catch let error as CASError {
                #expect(error.code == .unavailable)
            }
        }
        store.simulated.failEvery(nil, with: CASError(.unavailable, ""))
        try tree.expectWhole(in: store.repository, "project")
        #expect(
            try store.repository.missing(tree.allDigests, push: .random(), domain: .standard)
                .allSatisfy { !$0 })
    }

    @Test func `what a disk can not read is found, and a push heals it`() throws {
        let tree = try DamageTests.smallTree()
        for number in 0..<30 {
            let store = try TestStore()
            try store.repository.push(tree, to: "project")
            try store.reopen()
            store.simulated.inject(
                .error(CASError(.dataLoss, "input/output error")), at: number, kinds: [.read])
            _ = try ScrubTests.scrub(store.repository)
            store.simulated.inject(
                .error(CASError(.dataLoss, "")), at: .max, kinds: [.read])
            try store.repository.push(tree, to: "project")
            #expect(try Fetched(store.repository, "project").folder() == tree.folder)
        }
        let store = try TestStore()
        try store.repository.push(tree, to: "project")
        try store.reopen()
        store.simulated.failEvery(.read, with: CASError(.dataLoss, "input/output error"))
        _ = try code { _ = try ScrubTests.scrub(store.repository) }
        store.simulated.failEvery(nil, with: CASError(.dataLoss, ""))
        try store.repository.push(tree, to: "project")
        #expect(try Fetched(store.repository, "project").folder() == tree.folder)
    }

    @Test func `pushes go on between its steps`() throws {
        let store = try TestStore { $0.packBytes = 8 << 10 }
        var random = SeededGenerator(seed: 730)
        var trees: [SampleTree] = []
        for index in 0..<3 {
            trees.append(try SampleTree.random(random.next()))
            try store.repository.push(trees[index], to: "project-\(index)")
        }
        let task = store.repository.scrub(domain: .standard)
        while try task.step() {
            guard trees.count < 9 else { continue }
            trees.append(try SampleTree.random(random.next()))
            try store.repository.push(trees[trees.count - 1], to: "project-\(trees.count - 1)")
        }
        #expect(task.progress.findings.isEmpty, "\(task.progress.findings)")
        #expect(try ScrubTests.scrub(store.repository).findings.isEmpty)
        for (index, tree) in trees.enumerated() {
            try tree.expectWhole(in: store.repository, "project-\(index)")
        }
    }
}
