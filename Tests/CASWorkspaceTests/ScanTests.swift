import CASCore
import CASFileSystem
import CASTree
import CASWorkspace
import Foundation
import Synchronization
import Testing

/// What a scan makes of all kinds of trees.
@Suite struct ScanTests {
    @Test func `keeps files, links and empty directories with their attributes`() throws {
        let area = try ScanArea()
        try area.write("run.sh", "#!/bin/sh\n", mode: 0o750)
        try area.write("empty")
        try area.directory("void/inner")
        try area.link("link", to: "run.sh")
        try area.link("dangling", to: "nowhere")
        let scan = try HashedScan(area.path)
        let tree = try scan.tree.assemble()
        #expect(
            tree.snapshot.totals == TreeTotals(files: 2, directories: 3, symlinks: 2, bytes: 10))
        #expect(try scan.directories() == ["void", "void/inner"])
        let (bytes, attributeBytes) = try tree.directories[0].encode()
        let root = try Directory(decodingCanonical: bytes, limits: .standard)
        let attributes = try AttributesDirectory(decoding: attributeBytes, limits: .standard)
        #expect(root.files.map(\.name.text) == ["empty", "run.sh"])
        #expect(root.files.map(\.isExecutable) == [false, true])
        #expect(root.files.map(\.digest) == [.empty, Digest.of(Array("#!/bin/sh\n".utf8))])
        #expect(root.symlinks.map(\.target) == [Array("nowhere".utf8), Array("run.sh".utf8)])
        #expect(attributes.matches(root))
        #expect(attributes.files.map(\.permissions) == [0o644, 0o750])
        let handle = try DirectoryHandle(path: area.path)
        let status = try #require(try handle.status(Array("run.sh".utf8)))
        #expect(attributes.files[1].modified == status.modified)
        #expect(tree.snapshotDigest == Digest.of(tree.snapshotBytes))
        #expect(tree.snapshot.tree.digest == Digest.of(bytes))
        #expect(tree.snapshot.attributes?.digest == Digest.of(attributeBytes))
        #expect(scan.tree.findings.isEmpty, "dangling links inside are fine")
    }

    @Test func `a tree's digest does not depend on workers, order or times`() throws {
        var random = ScanRandom(seed: 7)
        let names = (0..<300).map { number in
            (0..<Int.random(in: 1..<6, using: &random)).map { _ in "d\(number % 7)" }
                .joined(separator: "/") + "/f\(number)"
        }
        let first = try ScanArea()
        let second = try ScanArea()
        for name in names { try first.write(name, name) }
        for name in names.shuffled(using: &random) { try second.write(name, name) }
        let trees = try [1, 2, 8].map {
            try HashedScan(first.path, ScanOptions(workers: $0)).tree.assemble()
        }
        #expect(Set(trees.map(\.snapshotDigest)).count == 1)
        let other = try HashedScan(second.path).tree.assemble()
        #expect(other.snapshot.tree == trees[0].snapshot.tree)
        #expect(other.snapshot.attributes != trees[0].snapshot.attributes)
    }

    @Test func `only a directory's time differs: the stable digest does not`() throws {
        let area = try ScanArea()
        try area.write("d/a", "1")
        let before = try HashedScan(area.path).tree.assemble().snapshot
        try DirectoryHandle(path: area.path + "/d").setModified(Timestamp(seconds: 1_000_000))
        let after = try HashedScan(area.path).tree.assemble().snapshot
        #expect(before.attributes != after.attributes)
        #expect(after.isUnchanged(from: before))
        try DirectoryHandle(path: area.path + "/d").setModified(
            Array("a".utf8), Timestamp(seconds: 1_000_000))
        let touched = try HashedScan(area.path).tree.assemble().snapshot
        #expect(!touched.isUnchanged(from: before))
    }

    @Test func `reports sockets and pipes and goes on`() throws {
        let area = try ScanArea()
        try area.write("a")
        try area.run(["mkfifo", "pipe"])
        let scan = try HashedScan(area.path)
        #expect(scan.files == ["a"])
        #expect(scan.skipped == ["pipe"])
        let count = try #require(scan.tree.skippedCounts.first)
        #expect(count.rule == nil && count.count == 1 && count.example == "pipe")
    }

    @Test func `keeps names of any bytes`() throws {
        let area = try ScanArea()
        let handle = try DirectoryHandle(path: area.path)
        let names: [[UInt8]] = [
            [0xff, 0x41], Array("é".utf8), Array("\u{f780}".utf8), [0x0a], Array("z".utf8),
            Array(" ".utf8), [0xc3], Array("\u{10000}".utf8), Array("\u{e000}".utf8),
        ]
        for name in names { _ = try handle.createFile(name) }
        let tree = try HashedScan(area.path).tree.assemble()
        let root = try Directory(
            decodingCanonical: try tree.directories[0].encode().directory, limits: .standard)
        #expect(Set(root.files.map(\.name.bytes)) == Set(names))
        let attributes = try AttributesDirectory(
            decoding: try tree.directories[0].encode().attributes, limits: .standard)
        #expect(attributes.matches(root))
    }

    @Test func `finds links that leave the workspace`() throws {
        let area = try ScanArea()
        try area.directory("a/b")
        try area.link("absolute", to: "/usr/bin/python3")
        try area.link("up", to: "../x")
        try area.link("inside", to: "a/../a/b")
        try area.link("a/inside", to: "../a/b")
        try area.link("a/b/out", to: "../../../y")
        try area.link("a/b/around", to: "./../../a/../../z")
        let findings = try HashedScan(area.path).tree.findings
        #expect(
            findings.map(\.text) == [
                "a/b/around -> ./../../a/../../z", "a/b/out -> ../../../y",
                "absolute -> /usr/bin/python3", "up -> ../x",
            ])
    }

    @Test func `finds names that differ in case alone`() throws {
        let area = try ScanArea()
        for name in ["x/README", "x/readme", "x/Other", "É", "é", "e\u{301}", "y/a", "z/a/q"] {
            try area.write(name)
        }
        try area.directory("z/A")
        let findings = try HashedScan(area.path).tree.findings
        #expect(
            findings.map(\.text) == [
                "e\u{301}, É, é", "x/README, x/readme", "z/A, z/a",
            ])
    }

    @Test func `finds files that look like secrets unless git tracks them`() throws {
        let area = try ScanArea()
        let secrets = [
            ".env", "a/id_rsa", "a/server.key", "credentials.json", "kubeconfig", "tls/x.pem",
        ]
        let harmless = [".env.example", "credentials.py", "cacert.pem", "keys.py", "a/key"]
        for name in secrets + harmless { try area.write(name) }
        try area.write("ignored.pem")
        try area.write(".gitignore", "/ignored.pem\n")
        #expect(try HashedScan(area.path).tree.findings.map(\.text) == secrets)
        try area.run(["git", "init", "-q", "."])
        #expect(try HashedScan(area.path).tree.findings.map(\.text) == secrets)
        for version in ["2", "3", "4"] {
            try area.run(["git", "add", "a", "credentials.json", "keys.py"])
            try area.run(["git", "update-index", "--index-version", version])
            let left = try HashedScan(area.path).tree.findings.map(\.text)
            #expect(left == [".env", "kubeconfig", "tls/x.pem"], "version \(version)")
            let below = try HashedScan(area.path + "/a").tree.findings.map(\.text)
            #expect(below.isEmpty, "version \(version)")
        }
        try area.write(".git/index", "DIRC and nonsense")
        #expect(try HashedScan(area.path).tree.findings.map(\.text) == secrets)
    }

    @Test func `what git tracks is kept although it matches an ignore pattern`() throws {
        let area = try ScanArea()
        let tracked = [
            "a.log", "build/deep/kept.o", "build/kept.o", "build/private.o", "build/secret/x",
            "src/out/kept",
        ]
        for name in tracked { try area.write(name, name) }
        for name in ["b.log", "build/new.o", "build/other/new.o", "src/out/new", "kept.txt"] {
            try area.write(name, name)
        }
        try area.write(".gitignore", "*.log\nbuild/\nout\n")
        try area.write(".casignore", "private.o\n")
        try area.write("build/.casignore", "/secret/\n")
        try area.run(["git", "init", "-q", "."])
        try area.run(["git", "add", "-f"] + tracked)
        let scan = try HashedScan(area.path)
        let files = scan.files.filter { !$0.hasPrefix(".") }
        #expect(
            files.sorted() == [
                "a.log", "build/deep/kept.o", "build/kept.o", "kept.txt", "src/out/kept",
            ])
        // What is left out is named entry by entry, not by the directory that is there in part.
        #expect(
            scan.tree.skipped.map { PathText.printable($0.path) }.sorted() == [
                ".git", "b.log", "build/.casignore", "build/new.o", "build/other",
                "build/private.o", "build/secret", "src/out/new",
            ])
        let below = try HashedScan(area.path + "/src").files
        #expect(below == ["out/kept"])
        let all = try HashedScan(area.path, ScanOptions(includes: ["new.o"])).files
        #expect(all.contains("build/new.o") && all.contains("build/kept.o"))
    }

    @Test func `a file that vanishes can be dropped, one that nobody read is named`() throws {
        let area = try ScanArea()
        for name in ["a", "d/gone", "e/unread"] { try area.write(name, name) }
        let scan = try WorkspaceScan.run(root: area.path) { file in
            switch file.text {
            case "d/gone":
                #expect(try file.currentStatus() != nil)
                try DirectoryHandle(path: area.path + "/d").removeFile(file.name)
                #expect(try file.currentStatus() == nil)
                #expect(throws: CASError.self) { try HashedScan.hash(file) }
                file.markVanished()
            case "e/unread": break
            default: try HashedScan.hash(file)
            }
        }
        let error = #expect(throws: CASError.self) { try scan.assemble() }
        #expect(error?.path == "e/unread")
        let indices = Mutex<[Int]>([])
        let last = try WorkspaceScan.run(root: area.path) { file in
            if file.text == "a" { return indices.withLock { $0.append(file.index) } }
            try HashedScan.hash(file)
        }
        let index = try #require(indices.withLock { $0 }.first)
        #expect(last.path(index) == Array("a".utf8))
        last.markVanished(index)
        #expect(try last.assemble().snapshot.totals.files == 1)
    }

    @Test func `an error of the receiver ends the scan`() throws {
        let area = try ScanArea()
        for number in 0..<200 { try area.write("d\(number)/f") }
        let error = #expect(throws: CASError.self) {
            try WorkspaceScan.run(root: area.path) { _ in throw CASError(.aborted, "enough") }
        }
        #expect(error?.code == .aborted)
        #expect(throws: CASError.self) {
            try WorkspaceScan.run(root: area.path + "/missing") { _ in }
        }
    }

    @Test func `refuses more entries or levels than the limits`() throws {
        let area = try ScanArea()
        for name in ["a", "b", "c/d/e/f"] { try area.write(name) }
        var options = ScanOptions()
        options.limits.treeDepth = 3
        #expect(throws: CASError.self) { try HashedScan(area.path, options) }
        options = ScanOptions()
        options.limits.treeEntries = 5
        #expect(throws: CASError.self) { try HashedScan(area.path, options) }
        options.limits.treeEntries = 6
        #expect(try HashedScan(area.path, options).files.count == 3)
    }
}
