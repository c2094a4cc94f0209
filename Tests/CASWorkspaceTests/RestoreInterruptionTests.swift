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
}
