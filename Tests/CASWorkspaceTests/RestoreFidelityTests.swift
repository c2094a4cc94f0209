import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import CASWorkspace
import Testing

@Suite struct RestoreFidelityTests {
    /// A folder of everything that may be in one.
    static func random(_ generator: inout SeededGenerator, depth: Int = 3) -> RestoreFolder {
        var folder = RestoreFolder()
        func name() -> [UInt8] {
            while true {
                let length = Int.random(in: 1...12, using: &generator)
                let bytes = (0..<length).map { _ in
                    UInt8.random(in: 1...255, using: &generator)
                }.filter { $0 != 0x2f }
                if !bytes.isEmpty, bytes != [0x2e], bytes != [0x2e, 0x2e] { return bytes }
            }
        }
        func time() -> Timestamp {
            Timestamp(
                seconds: Int64.random(in: -1_000...4_000_000_000, using: &generator),
                nanoseconds: UInt32.random(in: 0...999_999_999, using: &generator))
        }
        for _ in 0..<Int.random(in: 0...5, using: &generator) {
            let size = [0, 1, 100, 5_000, 700_000].randomElement(using: &generator) ?? 0
            folder.files[name()] = RestoreFolder.File(
                content: generator.bytes(size),
                permissions: UInt16.random(in: 0...0o777, using: &generator), modified: time())
        }
        for _ in 0..<Int.random(in: 0...2, using: &generator) {
            let name = name()
            guard folder.files[name] == nil else { continue }
            folder.links[name] = RestoreFolder.Link(target: name.reversed(), modified: time())
        }
        folder.permissions = UInt16.random(in: 0...0o777, using: &generator)
        folder.modified = time()
        guard depth > 0 else { return folder }
        for _ in 0..<Int.random(in: 0...3, using: &generator) {
            let name = name()
            guard folder.files[name] == nil, folder.links[name] == nil else { continue }
            folder.folders[name] = random(&generator, depth: depth - 1)
        }
        return folder
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `a directory of anything comes back to the last bit, and so does its successor`(
        seed: UInt64
    ) throws {
        var generator = SeededGenerator(seed: seed)
        let area = try RestoreArea()
        let first = Self.random(&generator)
        try area.restore(try RestoreTree(first))
        #expect(try area.read() == first)
        // Unrelated, but for what both have by chance: everything of the first has to go.
        let second = Self.random(&generator)
        try area.restore(try RestoreTree(second))
        #expect(try area.read() == second)
        #expect(try area.leftovers() == [])
    }

    @Test func `without attributes modes are plain and times follow the content`() throws {
        var folder = RestoreFolder(["a": "one", "sub/b": "two"])
        folder["run"] = RestoreFolder.File(content: [1], permissions: 0o711)
        folder.link("link", "a")
        func times(_ folder: RestoreFolder, _ change: (inout RestoreOptions) -> Void) throws
            -> RestoreFolder
        {
            let area = try RestoreArea()
            try area.restore(try RestoreTree(folder, hasAttributes: false), change)
            return try area.read()
        }
        let plain = try times(folder) { _ in }
        #expect(plain["a"]?.permissions == 0o644)
        #expect(plain["run"]?.permissions == 0o755)
        // The same on any machine and day.
        #expect(try times(folder) { _ in } == plain)
        #expect(try times(folder) { $0.reproducible = true } == plain)
        var edited = folder
        edited["a"] = RestoreFolder.File(content: Array("six".utf8))
        let other = try times(edited) { _ in }
        #expect(other["a"]?.modified != plain["a"]?.modified)
        #expect(other["sub/b"]?.modified == plain["sub/b"]?.modified)
    }

    @Test func `a restore of the same again touches nothing`() throws {
        let area = try RestoreArea()
        let tree = try RestoreTree(RestoreFolder(["a": "1", "b/c": "2", "b/d": ""]))
        try area.restore(tree)
        let before = try area.stamps()
        let again = try area.restore(tree)
        #expect(again.written == 0)
        #expect(again.kept == 3)
        #expect(try area.stamps() == before)
    }

    @Test func `lost and found does not make a destination somebody's`() throws {
        let area = try RestoreArea()
        try area.makeDirectory("lost+found")
        try area.restore(try RestoreTree(RestoreFolder(["a": "1"])))
        #expect(try area.text("a") == "1")
        #expect(try area.read().folders[Array("lost+found".utf8)] != nil)
    }

    @Test func `other things in a destination stay, and stop the first restore`() throws {
        let area = try RestoreArea()
        try area.write("thesis.txt", "mine")
        let tree = try RestoreTree(RestoreFolder(["a": "1"]))
        expectFailure(.failedPrecondition, "thesis.txt", "--force") { try area.restore(tree) }
        #expect(try area.text("a") == nil)
        try area.restore(tree) { $0.force = true }
        #expect(try area.text("a") == "1")
        #expect(try area.text("thesis.txt") == "mine")
    }
}
