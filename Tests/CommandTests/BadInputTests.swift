import CASCore
import CASFileSystem
import Foundation
import Testing

/// Bad input: a clear error, and nothing lost.
@Suite struct BadInputTests {
    @Test func `what is not there is named`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas("ls")
        try fixture.cas("push missing")
        try fixture.writeProject()
        try fixture.cas("push work/model.py")
        try fixture.cas("push work --to p")
        try fixture.cas("fetch team/unknown copy")
        try fixture.cas("fetch sha256:\(String(repeating: "0", count: 64)) copy")
        try fixture.cas("verify p missing")
        try fixture.cas("fetch")
        try fixture.cas("fetch copy")
        try fixture.cas("fetch Bad!Name copy")
        try fixture.cas("push work --to sha256:\(String(repeating: "0", count: 64))")
        try fixture.cas("push work --if-match abc")
        try Snapshot.check(fixture, "not-there")
    }

    @Test func `a ref that somebody else moved is not overwritten under --if-match`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let first = try fixture.run(["push", "work", "--to", "p"]).output.dropLast()
        try fixture.write("work/model.py", "answer = 43\n")
        _ = try fixture.run(["push", "work", "--to", "p"])
        try fixture.write("work/model.py", "answer = 44\n")
        let result = try fixture.cas("push work --to p --if-match \(first)")
        #expect(result.status == 1)
        try fixture.cas("push work --to p --if-match none")
        try fixture.cas("log p")
        try fixture.cas("rm p --if-match \(first)")
        try Snapshot.check(fixture, "if-match")
    }

    @Test func `more new bytes than the limit stop the push`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.write("work/cas.yaml", "to: p\nlimit: 1KiB\n")
        try fixture.write("work/data/big.bin", String(repeating: "0123456789abcdef", count: 1000))
        let result = try fixture.run(["push", "work"])
        #expect(result.status == 1)
        #expect(result.output.isEmpty)
        #expect(
            result.errors.contains("16 KiB  data/big.bin")
                || result.errors.contains("15 KiB  data/big.bin"), "\(result.errors)")
        #expect(result.errors.contains("--large"))
        #expect(try fixture.run(["log", "p"]).status == 1)
        #expect(try fixture.run(["push", "work", "--large"]).status == 0)
    }

    @Test func `a destination that is not ours is left alone`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to p")
        try fixture.write("other/mine.txt", "mine")
        try fixture.cas("fetch p other")
        #expect(try DiskFileSystem().list(fixture.path("other")) == ["mine.txt"])
        try fixture.write("file", "x")
        try fixture.cas("fetch p file")
        try DiskFileSystem().createDirectory(fixture.path("volume/lost+found"))
        try fixture.cas("fetch p volume")
        try fixture.cas("fetch p volume")
        try Snapshot.check(fixture, "destination")
    }

    @Test func `two fetches into one destination do not mix`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        _ = try fixture.run(["push", "work", "--to", "p"])
        _ = try fixture.run(["fetch", "p", "copy"])
        let lock = try #require(try FileLock(path: fixture.path("copy/.cas/lock")))
        try fixture.cas("fetch p copy")
        withExtendedLifetime(lock) {}
        try Snapshot.check(fixture, "two-fetches")
    }

    @Test func `a damaged pack is found, and a push heals it`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        _ = try fixture.run(["push", "work", "--to", "p", "--store", "store"])
        try damagePacks(fixture, at: "answer = 42")
        let result = try fixture.run(["fetch", "p", "copy", "--store", "store"])
        #expect(result.status == 1)
        #expect(result.errors.hasPrefix("fetching"), "\(result.errors)")
        #expect(result.errors.contains("error: "), "\(result.errors)")
        #expect(try DiskFileSystem().status(fixture.path("copy/model.py")) == nil)
    }

    /// Flips one bit of a text that a pack holds uncompressed.
    private func damagePacks(_ fixture: CommandLineFixture, at text: String) throws {
        let packs = fixture.path("store/packs")
        var isDone = false
        for name in try DiskFileSystem().list(packs) {
            let url = URL(fileURLWithPath: "\(packs)/\(name)")
            var data = try Data(contentsOf: url)
            guard let range = data.range(of: Data(text.utf8)) else { continue }
            data[range.lowerBound] ^= 1
            try data.write(to: url)
            isDone = true
        }
        try #require(isDone, "no pack holds '\(text)'")
    }

    @Test func `a damaged catalog is named, and rebuild-index mends it`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        _ = try fixture.run(["push", "work", "--to", "p", "--store", "store"])
        _ = try fixture.run(["push", "work", "--to", "gone", "--store", "store"])
        _ = try fixture.run(["rm", "gone", "--store", "store"])
        try fixture.write("store/catalog.sqlite", String(repeating: "damage", count: 1000))
        for suffix in ["-wal", "-shm"] {
            let path = fixture.path("store/catalog.sqlite\(suffix)")
            if try DiskFileSystem().status(path) != nil { try DiskFileSystem().remove(path) }
        }
        try fixture.cas("ls --store store")
        try fixture.cas("rebuild-index --store store")
        try fixture.cas("ls --store store")
        try fixture.cas("fetch p copy --store store")
        try fixture.cas("rebuild-index --store missing")
        try Snapshot.check(fixture, "rebuild-index")
    }

    @Test func `an index is not rebuilt under a server's feet`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let address = try fixture.serve("--store store")
        let refused = try fixture.run(["rebuild-index", "--store", "store"])
        #expect(refused.status == 1)
        #expect(refused.errors.contains("somebody is using the store"))
        let pushed = try fixture.run(["push", "work", "--to", "p", "--server", address])
        #expect(pushed.status == 0)
        #expect(try fixture.stopServer() == 0)
        let rebuilt = try fixture.run(["rebuild-index", "--store", "store"])
        #expect(rebuilt.status == 0, "\(rebuilt.errors)")
        #expect(try fixture.run(["fetch", "p", "copy", "--store", "store"]).status == 0)
        #expect(try fixture.run(["verify", "p", "copy", "--store", "store"]).status == 0)
    }

    @Test func `a path of thousands of bytes travels`() throws {
        let fixture = try CommandLineFixture()
        let deep = (0..<35).map { _ in String(repeating: "d", count: 100) }.joined(separator: "/")
        try fixture.write("work/\(deep)/file", "deep")
        let result = try fixture.run(["push", "work", "--to", "p"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try fixture.run(["fetch", "p", "c"]).status == 0)
        #expect(try fixture.read("c/\(deep)/file") == "deep")
        #expect(try fixture.run(["ls", "p", deep]).output == "file\n")
    }

    @Test func `names of any bytes travel and are printed safely`() throws {
        let fixture = try CommandLineFixture()
        try DiskFileSystem().createDirectory(fixture.path("work"))
        let directory = try DirectoryHandle(path: fixture.path("work"))
        let name: [UInt8] = [0xff, 0x1b, 0x5b, 0x33, 0x31, 0x6d, 0x0a, 0x80]
        let file = try directory.createFile(name)
        try Array("x".utf8).withUnsafeBytes { try file.write($0) }
        try fixture.cas("push work --to p")
        try fixture.cas("ls p")
        try fixture.cas("fetch p copy")
        #expect(try DirectoryHandle(path: fixture.path("copy")).status(name) != nil)
        try Snapshot.check(fixture, "names")
    }

    @Test func `nobody reading the output is no crash`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        _ = try fixture.run(["push", "work", "--to", "p"])
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        let executable = try CommandLineFixture.executable()
        process.arguments = ["-c", "'\(executable)' ls p --recursive | true"]
        process.environment = ["HOME": fixture.path("home")]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }
}
