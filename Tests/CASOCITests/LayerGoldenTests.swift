import CASCore
import CASOCI
import CASTestSupport
import CASTree
import Testing

/// Layers of trees that never change: DiffIDs are public, and so for ever.
///
/// `layer-golden.py` beside this is another implementation of the rules, and printed the values.
@Suite struct LayerGoldenTests {
    static let tree = PlantedTree.Node.folder([
        "README.md": .file(Array("# hello\n".utf8)),
        "empty": .folder([:]), "nothing": .file([]),
        "run": .file(Array("#!/bin/sh\n".utf8), isExecutable: true),
        "latest": .link("src/main.py"),
        "src": .folder([
            "main.py": .file(Array("print('hello')\n".utf8)),
            "ünï": .folder(["☃": .file([UInt8](repeating: 7, count: 600))]),
            String(repeating: "n", count: 120): .file([1]),
            "far": .link(String(repeating: "far/", count: 30)),
        ]),
    ])

    private static func options() throws -> LayerOptions {
        try LayerOptions(prefix: Array("/workspace/app".utf8), userID: 1000, groupID: 1000)
    }

    private static func archive(_ options: LayerOptions) throws -> [UInt8] {
        let tree = try PlantedTree(Self.tree)
        let plan = try LayerPlan(root: tree.root, source: tree, options: options)
        #expect(plan.items.count == 1)
        return try tree.layer(plan.items[0].part, options)
    }

    @Test func `the DiffID of the fixture`() throws {
        let placed = Digest.of(try Self.archive(try Self.options())).hexadecimal
        #expect(
            placed == "b1d1bc34f511e775d9e8b5471eb3576047bdb7f32c39b29e27d19279f3de5c39")
        let bare = Digest.of(try Self.archive(try LayerOptions())).hexadecimal
        #expect(bare == "6ffa2bdf5df8b8bcffa065e35486f310621df34baed3df1f9a7d8bfa2c9c7ecf")
    }

    @Test func `Python's tarfile reads the tree back`() throws {
        let bench = try Workbench()
        try bench.write("a.tar", try Self.archive(try Self.options()))
        let output = try bench.run(["python3", "-c", Self.listing, "a.tar"])
        let listed = try JSON(decoding: output).elements ?? []
        var expected = Self.tree.flattened("workspace/app")
        expected["workspace"] = .folder([:])
        #expect(listed.count == expected.count)
        for item in listed {
            let fields = item.elements ?? []
            let name = try #require(fields[0].text)
            let node = try #require(expected[name], "\(name)")
            let owner: Int64 = name == "workspace" ? 0 : 1000
            #expect(fields[3].integer == owner && fields[4].integer == owner, "\(name)")
            #expect(fields[7].text == "" && fields[8].text == "", "\(name)")
            switch node {
            case .folder:
                #expect(fields[1].integer == 5 && fields[2].integer == 0o755, "\(name)")
                #expect(fields[5].integer == 0, "\(name)")
            case .link(let target):
                #expect(fields[1].integer == 2 && fields[6].text == target, "\(name)")
            case .file(let content, let isExecutable):
                let digest = Digest.of(content)
                #expect(fields[1].integer == 0, "\(name)")
                #expect(fields[2].integer == (isExecutable ? 0o755 : 0o644), "\(name)")
                #expect(fields[5].integer == DerivedTime.of(digest).seconds, "\(name)")
                #expect(fields[6].text == digest.hexadecimal, "\(name)")
            }
        }
        let names = listed.compactMap { $0.elements?[0].text }
        #expect(names.first == "workspace" && Set(names).count == names.count)
    }

    private static let listing = """
        import hashlib, json, sys, tarfile
        tar = tarfile.open(sys.argv[1])
        print(json.dumps([[m.name, int(m.type), m.mode, m.uid, m.gid, m.mtime,
            hashlib.sha256(tar.extractfile(m).read()).hexdigest() if m.isreg() else m.linkname,
            m.uname, m.gname] for m in tar]))
        """

    @Test func `GNU tar unpacks it`() throws {
        let bench = try Workbench()
        try bench.write("a.tar", try Self.archive(try LayerOptions()))
        try bench.run(["mkdir", "out"])
        try bench.run(["tar", "--warning=all", "-C", "out", "-xf", "a.tar"])
        #expect(try bench.read("out/src/main.py") == Array("print('hello')\n".utf8))
        #expect(try bench.read("out/src/ünï/☃") == [UInt8](repeating: 7, count: 600))
        #expect(try bench.run(["find", "out", "-mindepth", "1", "-printf", "x"]).count == 11)
    }
}
