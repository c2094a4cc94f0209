import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import CASWorkspace
import Testing

/// Updates in place: what differs is changed, what is the user's is left alone.
@Suite struct RestoreUpdateTests {
    private let area: RestoreArea
    private let first = RestoreFolder([
        "train.py": "v1", "data/a.csv": "a", "data/b.csv": "b", "old/x": "x", "old/y": "y",
    ])

    init() throws {
        area = try RestoreArea()
        try area.restore(try RestoreTree(first))
    }

    @Test func `only what differs is written and removed`() throws {
        let before = try area.stamps()
        var second = first
        second["train.py"] = RestoreFolder.File(content: Array("v2".utf8))
        second.folders[Array("old".utf8)] = nil
        let summary = try area.restore(try RestoreTree(second))
        #expect(summary.written == 1)
        #expect(summary.kept == 2)
        #expect(summary.removed == 2)
        #expect(area.asked == [Digest.of(Array("v2".utf8))])
        #expect(try area.read() == second)
        let after = try area.stamps()
        #expect(after["data/a.csv"] == before["data/a.csv"])
        #expect(after["data/b.csv"] == before["data/b.csv"])
    }

    @Test func `an edited file is named, kept, and nothing else is changed either`() throws {
        try area.write("train.py", "mine")
        try area.write("old/x", "mine too")
        let before = try area.read()
        var second = first
        second["train.py"] = RestoreFolder.File(content: Array("v2".utf8))
        second["data/a.csv"] = RestoreFolder.File(content: Array("a2".utf8))
        second.folders[Array("old".utf8)] = nil
        let tree = try RestoreTree(second)
        expectFailure(.failedPrecondition, "train.py", "old/x", "--force", "--keep") {
            try area.restore(tree)
        }
        #expect(try area.read() == before)
    }

    @Test func `force overwrites and says what`() throws {
        try area.write("train.py", "mine")
        try area.write("old/x", "mine too")
        var second = first
        second["train.py"] = RestoreFolder.File(content: Array("v2".utf8))
        second.folders[Array("old".utf8)] = nil
        let summary = try area.restore(try RestoreTree(second)) { $0.force = true }
        #expect(summary.overwritten.count == 2)
        #expect(summary.overwritten.contains { $0.hasPrefix("train.py") })
        #expect(try area.read() == second)
    }

    @Test func `keep leaves them, for good`() throws {
        try area.write("train.py", "mine")
        var second = first
        second["train.py"] = RestoreFolder.File(content: Array("v2".utf8))
        second["data/a.csv"] = RestoreFolder.File(content: Array("a2".utf8))
        let summary = try area.restore(try RestoreTree(second)) { $0.keep = true }
        #expect(summary.left.count == 1)
        #expect(try area.text("train.py") == "mine")
        #expect(try area.text("data/a.csv") == "a2")
        // The next update must not take it for its own.
        var third = second
        third["train.py"] = nil
        try area.restore(try RestoreTree(third))
        #expect(try area.text("train.py") == "mine")
    }

    @Test func `an edit that came to the same content is no conflict`() throws {
        try area.write("train.py", "v2")
        var second = first
        second["train.py"] = RestoreFolder.File(content: Array("v2".utf8))
        let summary = try area.restore(try RestoreTree(second))
        #expect(summary.written == 0)
        #expect(try area.read() == second)
    }

    @Test func `an edit right after the restore is noticed, whatever its size and time`() throws {
        for _ in 0..<20 {
            let area = try RestoreArea()
            try area.restore(try RestoreTree(first))
            try area.overwrite("train.py", "V1")
            var second = first
            second["train.py"] = RestoreFolder.File(content: Array("v2".utf8))
            let tree = try RestoreTree(second)
            expectFailure(.failedPrecondition, "train.py") { try area.restore(tree) }
            #expect(try area.text("train.py") == "V1")
        }
    }

    @Test func `a directory with the user's things in it stays when the snapshot loses it`() throws
    {
        try area.write("old/notes.txt", "mine")
        var second = first
        second.folders[Array("old".utf8)] = nil
        try area.restore(try RestoreTree(second))
        #expect(try area.text("old/notes.txt") == "mine")
        #expect(try area.text("old/x") == nil)
    }

    @Test func `files, links and directories take each other's places`() throws {
        var second = first
        second["train.py"] = nil
        second["train.py/part"] = RestoreFolder.File(content: [1])
        second.folders[Array("old".utf8)] = nil
        second["old"] = RestoreFolder.File(content: [2])
        second["data/a.csv"] = nil
        second.folders[Array("data".utf8)]?.link("a.csv", "b.csv")
        try area.restore(try RestoreTree(second))
        #expect(try area.read() == second)
        try area.restore(try RestoreTree(first))
        #expect(try area.read() == first)
    }

    @Test func `a directory that holds the user's file does not become a file`() throws {
        try area.write("old/notes.txt", "mine")
        var second = first
        second.folders[Array("old".utf8)] = nil
        second["old"] = RestoreFolder.File(content: [2])
        let tree = try RestoreTree(second)
        expectFailure(.failedPrecondition, "old", "notes.txt") { try area.restore(tree) }
        #expect(try area.text("old/notes.txt") == "mine")
        #expect(try area.text("old/x") == "x")
        try area.restore(tree) { $0.force = true }
        #expect(try area.read() == second)
    }

    @Test func `a file of the user's where a directory is to be stops the update, or is kept`()
        throws
    {
        try area.write("new", "mine")
        var second = first
        second["new/deep/file"] = RestoreFolder.File(content: [1])
        let tree = try RestoreTree(second)
        expectFailure(.failedPrecondition, "new") { try area.restore(tree) }
        let summary = try area.restore(tree) { $0.keep = true }
        #expect(summary.left.count == 1)
        #expect(try area.text("new") == "mine")
    }

    @Test func `a link of the user's is never followed`() throws {
        let outside = area.temporary.path + "/outside"
        try DiskFileSystem().createDirectory(outside)
        try area.remove("data")
        try area.link("data", outside)
        var second = first
        second["data/a.csv"] = RestoreFolder.File(content: Array("a2".utf8))
        second["data/new.csv"] = RestoreFolder.File(content: Array("n".utf8))
        let tree = try RestoreTree(second)
        expectFailure(.failedPrecondition, "data") { try area.restore(tree) }
        #expect(try DiskFileSystem().list(outside) == [])
        try area.restore(tree) { $0.force = true }
        #expect(try DiskFileSystem().list(outside) == [])
        #expect(try area.read() == second)
    }

    @Test func `modes and times alone are mended without writing`() throws {
        var second = first
        second["train.py"]?.permissions = 0o755
        second["data/a.csv"]?.modified = Timestamp(seconds: 99, nanoseconds: 1)
        second.folders[Array("data".utf8)]?.permissions = 0o700
        let summary = try area.restore(try RestoreTree(second))
        #expect(summary.written == 0)
        #expect(area.asked == [])
        #expect(try area.read() == second)
    }

    @Test func `a file with another name of the user's is replaced and not changed through it`()
        throws
    {
        let other = area.temporary.path + "/other"
        try DiskFileSystem().createDirectory(other)
        let here = try DirectoryHandle(path: area.destination)
        let there = try DirectoryHandle(path: other)
        try here.link(Array("train.py".utf8), to: there, Array("mine.py".utf8))
        var second = first
        second["train.py"]?.permissions = 0o600
        try area.restore(try RestoreTree(second))
        #expect(try area.read() == second)
        #expect(try there.status(Array("mine.py".utf8))?.permissions == 0o644)
    }
}
