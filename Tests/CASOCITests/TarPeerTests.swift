import CASCore
import CASOCI
import CASTestSupport
import Foundation
import Testing

/// Archives of other programs are understood, and ours by them.
@Suite struct TarPeerTests {
    /// Makes a tree with what archives have trouble with; files by path.
    private static func plant(_ bench: Workbench, _ seed: UInt64) throws -> [String: [UInt8]] {
        var random = SeededGenerator(seed: seed)
        var files: [String: [UInt8]] = [:]
        var folders = ["tree"]
        for index in 0..<6 {
            let parent = random.pick(folders)
            folders.append(
                parent + "/"
                    + random.pick([
                        "d\(index)", "é\(index)", String(repeating: "long", count: 20) + "\(index)",
                    ]))
        }
        for folder in folders {
            try FileManager.default.createDirectory(
                atPath: bench.path(folder), withIntermediateDirectories: true)
        }
        for index in 0..<25 {
            let name = random.pick([
                "f\(index)", "ü ☃ \(index)", String(repeating: "n", count: 90) + "\(index)",
                "new\nline\(index)",
            ])
            let path = "\(random.pick(folders))/\(name)"
            let content = random.bytes(random.pick([0, 1, 511, 512, 513, 10_240, 20_000]))
            try bench.write(path, content)
            files[path] = content
        }
        for (index, target) in ["f", String(repeating: "t/", count: 70), "ñ"].enumerated() {
            try FileManager.default.createSymbolicLink(
                atPath: bench.path("tree/link\(index)"), withDestinationPath: target)
        }
        return files
    }

    private static func check(
        _ archive: [UInt8], _ files: [String: [UInt8]], _ what: String
    ) throws {
        let entries = try Entries.of(archive)
        var found: [String: [UInt8]] = [:]
        for entry in entries where entry.header.kind == .file {
            found[String(decoding: entry.header.path, as: UTF8.self)] = entry.content
        }
        #expect(found == files, "\(what)")
        let links = entries.filter { $0.header.kind == .symlink }.map(\.header.target)
        #expect(Set(links).contains(Array("ñ".utf8)) && links.count == 3, "\(what)")
        let cuts = try Cuts.of(archive, buffers: [4_099])
        #expect(!cuts.isPlain && cuts.bytes == archive, "\(what)")
        #expect(
            Set(cuts.files) == Set(files.values.filter { !$0.isEmpty }), "\(what)")
        if case .plain = cuts.cuts.last { Issue.record("\(what): something was taken as odd") }
    }

    @Test func `archives of GNU tar`() throws {
        let bench = try Workbench()
        let files = try Self.plant(bench, 1)
        for format in ["gnu", "pax", "posix", "oldgnu"] {
            try bench.run(["tar", "--format=\(format)", "-cf", "a.tar", "tree"])
            try Self.check(try bench.read("a.tar"), files, format)
        }
    }

    @Test func `archives of GNU tar in plain ustar`() throws {
        let bench = try Workbench()
        try FileManager.default.createDirectory(
            atPath: bench.path("t"), withIntermediateDirectories: true)
        try bench.write("t/a", [1, 2, 3])
        for format in ["ustar", "v7"] {
            try bench.run(["tar", "--format=\(format)", "-cf", "a.tar", "t"])
            let entries = try Entries.of(try bench.read("a.tar"))
            #expect(
                entries.map { String(decoding: $0.header.path, as: UTF8.self) } == ["t", "t/a"])
            #expect(entries[0].header.kind == .directory && entries[1].content == [1, 2, 3])
        }
    }

    @Test func `archives of Python's tarfile`() throws {
        let bench = try Workbench()
        let files = try Self.plant(bench, 2)
        for format in ["GNU_FORMAT", "PAX_FORMAT"] {
            try bench.run([
                "python3", "-c",
                "import tarfile; t=tarfile.open('a.tar','w',format=tarfile.\(format)); "
                    + "t.add('tree'); t.close()",
            ])
            try Self.check(try bench.read("a.tar"), files, format)
        }
    }

    @Test(arguments: 0..<3)
    func `Python's tarfile and GNU tar read our headers`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var headers: [TarHeader] = []
        var archive: [UInt8] = []
        for index in 0..<60 {
            let length = random.pick([1, 50, 98, 99, 100, 101, 155, 156, 254, 255, 256, 257, 700])
            var name = Array("\(index)-".utf8)
            while name.count < length {
                name.append(random.pick([0x2f, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x2e]))
            }
            if random.pick(0...3) == 0 { name = Array("é/".utf8) + name }
            if name.last == 0x2f { name.append(0x7a) }
            let kind = random.pick([TarHeader.Kind.file, .directory, .symlink])
            var header = TarHeader(
                path: name, kind: kind, mode: UInt32(random.pick([0o755, 0o644])),
                userID: UInt64(random.pick([0, 1000, 0o7_777_777, 0o10_000_000])),
                groupID: UInt64(random.pick([0, 5, 3_000_000_000])),
                modified: Int64(random.pick([0, 1_700_000_000, -5, 0o77_777_777_777 + 1])))
            if kind == .symlink {
                header.target = Array(String(repeating: "t", count: random.pick(1...200)).utf8)
            }
            headers.append(header)
            archive += header.encode()
        }
        archive += [UInt8](repeating: 0, count: 1024)
        #expect(try Entries.of(archive).map(\.header) == headers, "seed \(seed)")
        let bench = try Workbench()
        try bench.write("a.tar", archive)
        let listed = try JSON(
            decoding: try bench.run(["python3", "-c", Self.listing, "a.tar"]))
        let expected = headers.map { header in
            JSON.list([
                .text(String(decoding: header.path, as: UTF8.self)),
                .integer(header.kind == .file ? 0 : header.kind == .directory ? 5 : 2),
                .integer(header.mode), .integer(header.userID), .integer(header.groupID),
                .integer(header.modified),
                .text(String(decoding: header.target, as: UTF8.self)),
            ])
        }
        #expect(listed.elements == expected, "seed \(seed)")
        let names = try bench.run(["tar", "--quoting-style=literal", "-Ptf", "a.tar"])
        var lines: [UInt8] = []
        for header in headers {
            lines += header.path
            lines += header.kind == .directory ? [0x2f, 0x0a] : [0x0a]
        }
        #expect(names == lines, "seed \(seed)")
    }

    private static let listing = """
        import json, sys, tarfile
        members = tarfile.open(sys.argv[1]).getmembers()
        print(json.dumps([[m.name, int(m.type), m.mode, m.uid, m.gid, int(m.mtime), m.linkname] for m in members]))
        """
}
