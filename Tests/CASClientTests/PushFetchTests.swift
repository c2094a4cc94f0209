import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import CASWire
import CASWorkspace
import Testing

@Suite struct PushFetchTests {
    @Test func `a pushed directory comes back the same, and updates in place`() throws {
        let world = try LocalWorld()
        try world.write("a.txt", "hello")
        try world.write("sub/b.py", "print(1)\n", permissions: 0o755)
        try world.write("sub/empty", "")
        try world.makeDirectory("nothing/in/here")
        try world.link("sub/link", "../a.txt")
        try world.write("big.bin", SeededGenerator.text(seed: 1, count: 5_000_000))
        let first = try world.push()
        #expect(first.response?.outcome == .done)
        #expect(first.files == 4)
        let fetched = try world.fetch()
        #expect(fetched.restore.written == 4)
        #expect(try world.differences() == [])

        let again = try world.push()
        #expect(again.response?.outcome == .unchanged)

        try world.write("a.txt", "hello again")
        let second = try world.push()
        #expect(second.response?.outcome == .done)
        // All files are too young for the stat cache; hashed again, they prove to be known.
        #expect(second.newFiles == 1)
        #expect(second.newBytes == 11)
        #expect(second.sentBytes < 2_000)
        let update = try world.fetch()
        #expect(update.restore.written == 1)
        #expect(update.restore.kept == 3)
        #expect(try world.differences() == [])
    }
}
