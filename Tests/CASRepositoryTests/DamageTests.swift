import CASCore
import CASFileSystem
import CASPack
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

/// What happens where the bytes of a store are not what they were.
struct DamageTests {
    /// A tree of one small file, one chunked file and two folders.
    static func smallTree() throws -> SampleTree {
        var random = SeededGenerator(seed: 77)
        var folder = SampleFolder()
        folder.files["small"] = SampleFolder.File(content: random.bytes(60))
        folder.files["large"] = SampleFolder.File(content: random.bytes(5_000))
        folder.folders["inner"] = SampleFolder()
        folder.folders["inner"]?.files["text"] = SampleFolder.File(
            content: Array("hello, hello, hello, hello, hello, hello, hello".utf8))
        return try SampleTree(folder)
    }

    private func isWhole(_ tree: SampleTree, _ repository: Repository) throws -> Bool {
        do {
            let fetched = try Fetched(repository, "project")
            guard try fetched.folder() == tree.folder else {
                Issue.record("a fetch brought other content without an error")
                return false
            }
            return true
        } catch let error as CASError {
            #expect(
                error.code == .dataLoss || error.code == .notFound || error.code == .unimplemented
                    || error.code == .resourceExhausted, "\(error)")
            return false
        }
    }

    /// Changes one byte, fetches, and pushes again until the store is whole.
    private func damage(_ tree: SampleTree, _ store: TestStore, _ path: String, _ offset: Int)
        throws -> Bool
    {
        try store.change(path) { $0[offset] ^= 1 << UInt8(offset % 8) }
        let wasWhole = try isWhole(tree, store.repository)
        var attempts = 0
        while try !isWhole(tree, store.repository), attempts < 8 {
            attempts += 1
            try store.repository.push(tree, to: "project")
        }
        #expect(
            try isWhole(tree, store.repository), "byte \(offset) of \(path) was not healed")
        return wasWhole
    }

    /// Every byte in the long form, a sample in the short one.
    static var stride: Int {
        TestForm.isFull ? 1 : 13
    }

    @Test func `detects a changed byte anywhere and is healed by a push`() throws {
        let tree = try DamageTests.smallTree()
        let model = try TestStore()
        try model.repository.push(tree, to: "project")
        let sizes = model.simulated.fileSizes.values.sorted()
        #expect(sizes.count == 3)
        var detected = 0
        var checked = 0
        for index in sizes.indices {
            for offset in Swift.stride(from: index, to: sizes[index], by: DamageTests.stride) {
                let store = try TestStore()
                try store.repository.push(tree, to: "project")
                let found = store.simulated.fileSizes.first { $0.value == sizes[index] }
                let path = try #require(found?.key)
                if try !damage(tree, store, path, offset) { detected += 1 }
                checked += 1
            }
        }
        // Only headers of packs and records of events are not part of what is fetched.
        #expect(detected * 10 > checked * 8, "\(detected) of \(checked)")
    }

    @Test func `detects a changed byte in sealed packs on a disk`() throws {
        let tree = try DamageTests.smallTree()
        let store = try TestStore(.disk)
        try store.repository.push(tree, to: "project")
        try store.reopen()
        for path in try store.packs() {
            let count = try store.bytes(path).count
            for offset in Swift.stride(from: 70, to: count, by: 197) {
                _ = try damage(tree, store, path, offset)
            }
        }
        // A plan in memory may have hidden that the snapshot's own record is damaged.
        try store.reopen()
        try heal(tree, store)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test(arguments: Storage.allCases)
    func `opens with a pack that was cut and is healed by a push`(_ storage: Storage) throws {
        let tree = try DamageTests.smallTree()
        for (index, keep) in [0, 10, 64, 100, 300, 900].enumerated() {
            let store = try TestStore(storage)
            try store.repository.push(tree, to: "project")
            if index % 2 == 0 { try store.reopen() }
            let paths = try store.packs()
            let path = paths[index % paths.count]
            let whole = try store.bytes(path).count
            try store.change(path) { $0.removeLast(max(0, $0.count - keep)) }
            // The process that had it open is gone: an unsealed pack is recovered.
            try store.reopen(closing: index % 2 == 0)
            let wasWhole = try isWhole(tree, store.repository)
            #expect(!wasWhole || keep >= whole, "\(path) cut to \(keep) of \(whole)")
            try heal(tree, store)
            try store.reopen()
            try tree.expectWhole(in: store.repository, "project")
        }
    }

    @Test(arguments: Storage.allCases)
    func `opens without a pack and is healed by a push`(_ storage: Storage) throws {
        let tree = try DamageTests.smallTree()
        for index in 0..<3 {
            for isSealed in [false, true] {
                let store = try TestStore(storage)
                try store.repository.push(tree, to: "project")
                if isSealed { try store.reopen() }
                let paths = try store.packs()
                #expect(paths.count == 3)
                try store.remove(paths[index])
                try store.reopen(closing: isSealed)
                #expect(try !isWhole(tree, store.repository))
                try heal(tree, store)
                try store.reopen()
                try tree.expectWhole(in: store.repository, "project")
            }
        }
    }

    private func heal(_ tree: SampleTree, _ store: TestStore) throws {
        for _ in 0..<12 {
            do {
                try store.repository.push(tree, to: "project")
            } catch let error as CASError {
                #expect(error.code == .dataLoss, "\(error)")
            }
            if try isWhole(tree, store.repository) { return }
        }
        Issue.record("pushing again did not heal the store")
    }

    @Test func `keeps what is behind a damaged record when it recovers a pack`() throws {
        let store = try TestStore()
        var random = SeededGenerator(seed: 5)
        var folder = SampleFolder()
        for index in 0..<10 {
            folder.files["file-\(index)"] = SampleFolder.File(content: random.bytes(500))
        }
        let tree = try SampleTree(folder)
        try store.repository.push(tree, to: "project")
        let path = try #require(
            store.simulated.fileSizes.first { $0.value > 5_000 && $0.value < 6_500 }?.key)
        // Within the payload of the third record.
        try store.change(path) { $0[64 + 2 * 568 + 100] ^= 0x40 }
        try store.reopen(closing: false)
        let digests = Array(tree.files.keys)
        let missing = try store.repository.missing(
            digests, push: .random(), domain: .standard)
        #expect(missing.count { $0 } == 1)
        #expect(try store.repository.push(tree, to: "project").outcome != .missing)
        try tree.expectWhole(in: store.repository, "project")
    }
}
