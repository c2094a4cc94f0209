import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASTree
import CASWorkspace
import Testing

@Suite struct RestoreInterruptionTests {
    @Test func `a large file whose stream broke in the middle is taken again`() throws {
        let area = try RestoreArea()
        var generator = SeededGenerator(seed: 1)
        var folder = RestoreFolder(["small": "text"])
        folder["big"] = RestoreFolder.File(content: generator.bytes(1_000_000))
        let tree = try RestoreTree(folder)
        let restore = try area.open(tree)
        let plan = try restore.prepare()
        let stream = try RestoreStream()
        try stream.add(blob: try #require(folder["big"]).content)
        let first = try restore.makeWorker()
        var count = 0
        try stream.deliver { record in
            if count < 2 { try first.consume(record) }
            count += 1
        }
        first.cancel()
        #expect(failure { _ = try restore.finish() }?.code == .dataLoss)
        try area.send(plan.blobs, of: tree, to: restore)
        _ = try restore.finish()
        #expect(try area.read() == folder)
        #expect(try area.leftovers() == [])
    }

    /// A destination in which a restore of `tree` was killed once it had begun to write.
    private func interrupted(_ area: RestoreArea, _ tree: RestoreTree) throws {
        let restore = try area.open(tree)
        _ = try restore.prepare()
    }

    /// The same after one file; `body` runs while the restore still holds the destination.
    private func breakOff(
        _ area: RestoreArea, _ tree: RestoreTree, after text: String, _ body: () throws -> Void
    ) throws {
        let restore = try area.open(tree)
        _ = try restore.prepare()
        try area.send([Digest.of(Array(text.utf8))], of: tree, to: restore)
        try body()
        withExtendedLifetime(restore) {}
    }

    @Test func `the half of a file that a killed restore left is replaced`() throws {
        for half in ["", "hal", "half a f"] {
            let area = try RestoreArea()
            let tree = try RestoreTree(RestoreFolder(["file": "half a file", "other": "x"]))
            try interrupted(area, tree)
            try area.write("file", half)
            try area.restore(tree)
            #expect(try area.read() == tree.folder)
        }
    }

    @Test func `a file of the user's in the place of one that was never written stays`() throws {
        for text in ["mine", "a longer text than the one that was to come"] {
            let area = try RestoreArea()
            let tree = try RestoreTree(RestoreFolder(["file": "half a file", "other": "x"]))
            try interrupted(area, tree)
            try area.write("file", text)
            expectFailure(.failedPrecondition, "file") { try area.restore(tree) }
            #expect(try area.text("file") == text)
            let kept = try area.restore(tree) { $0.keep = true }
            #expect(kept.left.count == 1)
            #expect(try area.text("file") == text)
            #expect(try area.text("other") == "x")
        }
    }

    @Test func `force says that it took the user's file for a half`() throws {
        let area = try RestoreArea()
        let tree = try RestoreTree(RestoreFolder(["file": "half a file", "other": "x"]))
        try interrupted(area, tree)
        try area.write("file", "mine")
        let summary = try area.restore(tree) { $0.force = true }
        #expect(summary.overwritten.count == 1)
        #expect(try area.read() == tree.folder)
    }

    @Test func `another snapshot can follow an interrupted one`() throws {
        let area = try RestoreArea()
        let first = try RestoreTree(RestoreFolder(["a": "1", "b": "2"]))
        try area.restore(first)
        let second = try RestoreTree(RestoreFolder(["a": "1", "c/d": "3", "e": "4"]))
        let third = try RestoreTree(RestoreFolder(["a": "7", "f": "8"]))
        try breakOff(area, second, after: "3") {
            #expect(failure { try area.restore(third) }?.code == .aborted)
        }
        try area.restore(third)
        #expect(try area.read() == third.folder)
    }

    @Test func `content that is not what its digest says never gets a name`() throws {
        let area = try RestoreArea()
        let tree = try RestoreTree(RestoreFolder(["a": "right", "sub/b": "good"]))
        let restore = try area.open(tree)
        _ = try restore.prepare()
        let stream = try RestoreStream()
        try stream.add(.chunk, Digest.of(Array("right".utf8)), Array("wrong".utf8))
        let worker = try restore.makeWorker()
        #expect(failure { try stream.deliver { try worker.consume($0) } }?.code == .dataLoss)
        worker.cancel()
        #expect(try area.text("a") == nil)
        #expect(failure { _ = try restore.finish() }?.code == .dataLoss)
    }

    @Test(arguments: ["permuted", "shortened", "foreign"])
    func `a chunk list that does not compose its file is refused`(kind: String) throws {
        let area = try RestoreArea()
        var generator = SeededGenerator(seed: 3)
        let content = generator.bytes(900_000)
        var folder = RestoreFolder()
        folder["big"] = RestoreFolder.File(content: content)
        let tree = try RestoreTree(folder)
        let restore = try area.open(tree)
        _ = try restore.prepare()
        var pieces = stride(from: 0, to: content.count, by: 300_000).map {
            Array(content[$0..<$0 + 300_000])
        }
        switch kind {
        case "permuted": pieces.swapAt(0, 1)
        case "shortened": pieces.removeLast()
        default: pieces[1] = generator.bytes(300_000)
        }
        let list = ChunkList(
            terms: pieces.map { .chunk(Digest.of($0), length: UInt32($0.count)) })
        let stream = try RestoreStream()
        try stream.add(.chunkList, Digest.of(content), list.encode())
        for piece in pieces { try stream.add(.chunk, Digest.of(piece), piece) }
        let worker = try restore.makeWorker()
        #expect(failure { try stream.deliver { try worker.consume($0) } }?.code == .dataLoss)
        worker.cancel()
        #expect(try area.read().files.isEmpty)
        #expect(try area.leftovers() == [])
    }

    @Test func `an entry that would be our own state is refused before anything is written`() throws
    {
        let area = try RestoreArea()
        var folder = RestoreFolder(["a": "1"])
        folder[".cas/state"] = RestoreFolder.File(content: [1])
        let tree = try RestoreTree(folder)
        expectFailure(.failedPrecondition, ".cas") { try area.restore(tree) }
        #expect(try DiskFileSystem().status(area.destination) == nil)
    }
}
