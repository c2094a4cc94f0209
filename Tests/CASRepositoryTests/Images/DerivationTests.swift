import CASCatalog
import CASCore
import CASFileSystem
import CASOCI
import CASTestSupport
import CASTree
import CASWire
import Synchronization
import Testing

@testable import CASRepository

/// Images of snapshots: what they hold, and that they are a function of tree and options.
@Suite struct DerivationTests {
    /// A tree that never changes: every kind of entry, names that tar has no room for, sizes around blocks.
    static func fixture() throws -> SampleTree {
        var root = SampleFolder()
        func file(_ text: String, _ count: Int = 1, isExecutable: Bool = false) -> SampleFolder.File
        {
            SampleFolder.File(
                content: Array(String(repeating: text, count: count).utf8),
                isExecutable: isExecutable)
        }
        root.files["main.py"] = file("print('hello')\n", isExecutable: true)
        root.files["empty"] = file("")
        root.files["block"] = file("0123456789abcdef", 32)
        root.files["large"] = file("a line of a larger file\n", 4_000)
        root.symlinks["link"] = Array("package/module.py".utf8)
        var package = SampleFolder()
        package.files["module.py"] = file("value = 1\n", 60)
        package.files[String(repeating: "n", count: 180)] = file("long\n")
        package.files["ä ö"] = file("umlaut\n")
        package.symlinks["long"] = Array(String(repeating: "t/", count: 200).utf8)
        package.folders["nothing"] = SampleFolder()
        var deep = SampleFolder()
        deep.files["end"] = file("deep\n")
        for _ in 0..<12 {
            var above = SampleFolder()
            above.folders[String(repeating: "d", count: 30)] = deep
            deep = above
        }
        package.folders["deep"] = deep
        root.folders["package"] = package
        return try SampleTree(root)
    }

    @Test func `the image of a fixture is the same for ever`() throws {
        let store = try TestStore()
        try store.repository.push(try Self.fixture(), to: "team/a")
        let image = try PulledImage(store.repository, "team/a")
        #expect(
            image.layerDigests == [
                "sha256:2db0c9514ab998a13fe57986ff4b58f886911807e79d8ede3becabba0e965b57"
            ])
        #expect(
            image.digest.hexadecimal
                == "bde1f466b1e7bbb993e988654dd5ea7fc78afd13ef3682504fd62b1a447abd53")
    }

    @Test(arguments: Storage.allCases)
    func `unpacked layers are the tree`(_ storage: Storage) throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        let store = try TestStore(storage)
        for tree in [
            try Self.fixture(), try SampleTree.random(seed, largestFile: 20_000),
            try SampleTree(SampleFolder()),
        ] {
            try store.repository.push(tree, to: "team/a")
            let image = try PulledImage(store.repository, "team/a")
            try image.unpack { root in
                let isSame = try root.folder() == tree.folder.withoutTimes
                #expect(isSame, "seed \(seed)")
            }
        }
    }

    @Test(arguments: Storage.allCases)
    func `any range of a layer is that slice of the whole`(_ storage: Storage) throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        var random = SeededGenerator(seed: seed)
        let store = try TestStore(storage)
        try store.repository.push(
            try SampleTree(.random(&random, depth: 3, largestFile: 30_000)), to: "team/a")
        let image = try PulledImage(store.repository, "team/a")
        for (descriptor, whole) in zip(image.manifest.layers, image.layers) {
            guard case .sha256(let digest) = descriptor.digest else { continue }
            let reader = try #require(
                try store.repository.blobReader(digest, domain: .standard))
            #expect(reader.size == UInt64(whole.count))
            for _ in 0..<50 {
                let low = Int.random(in: 0..<whole.count, using: &random)
                let high = Int.random(in: low...min(whole.count, low + 9_000), using: &random)
                let bytes = try reader.bytes(UInt64(low)..<UInt64(high))
                #expect(bytes.elementsEqual(whole[low..<high]), "seed \(seed): \(low)..<\(high)")
            }
            #expect(try reader.bytes(0..<UInt64.max) == whole)
        }
    }

    @Test func `frames of a layer decode to it`() throws {
        let store = try TestStore()
        var random = SeededGenerator(seed: 11)
        try store.repository.push(
            try SampleTree(.random(&random, depth: 3, largestFile: 30_000)), to: "team/a")
        let image = try PulledImage(store.repository, "team/a")
        for (descriptor, whole) in zip(image.manifest.layers, image.layers) {
            guard case .sha256(let digest) = descriptor.digest else { continue }
            let reader = try #require(
                try store.repository.blobReader(digest, domain: .standard))
            let frames = try #require(try reader.frames())
            let directory = try TemporaryDirectory()
            var bytes: [UInt8] = []
            while try frames.next({ bytes.append(contentsOf: $0) }) {}
            #expect(bytes.count < whole.count)
            try DiskFileSystem().replace("\(directory.path)/in.zst", bytes)
            let child = try ChildProcess(
                "zstd", ["-dqc", "in.zst"], environment: ["PATH": "/usr/bin:/bin"],
                directory: directory.path, output: "\(directory.path)/out",
                errors: "\(directory.path)/errors")
            #expect(child.wait().status == 0)
            let decoded = try DiskFileSystem().read(
                "\(directory.path)/out", maximumBytes: 1 << 30)
            #expect(decoded == whole)
        }
    }

    @Test func `an edit changes one layer, and what is known is not hashed again`() throws {
        let store = try TestStore()
        var root = SampleFolder()
        for index in 0..<40 {
            var folder = SampleFolder()
            for number in 0..<20 {
                folder.files["file-\(number)"] = SampleFolder.File(
                    content: Array(repeating: UInt8(index), count: 1_000 * number))
            }
            root.folders["package-\(index)"] = folder
        }
        root.files["main.py"] = SampleFolder.File(content: Array("one\n".utf8))
        try store.repository.push(try SampleTree(root), to: "team/a")
        let first = try PulledImage(store.repository, "team/a")
        root.files["main.py"] = SampleFolder.File(content: Array("two\n".utf8))
        try store.repository.push(try SampleTree(root), to: "team/a")
        let second = try PulledImage(store.repository, "team/a")
        #expect(first.layerDigests.count == second.layerDigests.count)
        #expect(zip(first.layerDigests, second.layerDigests).count { $0 != $1 } == 1)
        #expect(first.digest != second.digest)
    }

    @Test func `other options make another image of the same tree`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(3)
        try store.repository.push(tree, to: "team/a")
        let usual = try PulledImage(store.repository, "team/a")
        func set(_ options: String?) throws -> RefEntry {
            try store.repository.setRef(
                try RefName("team/b"), RefUpdate(target: tree.digest, imageOptions: options),
                domain: .standard)
        }
        #expect(try set(nil).imageOptions == "")
        #expect(try PulledImage(store.repository, "team/b").digest == usual.digest)
        let sequence = try set(nil).sequence
        let entry = try set("prefix=opt//app/\nowner=7")
        #expect(entry.imageOptions == "owner=7:7\nprefix=/opt/app")
        // No move: it names the same.
        #expect(entry.sequence == sequence)
        #expect(try set(nil).imageOptions == entry.imageOptions)
        #expect(try code { _ = try set("prefix=../x") } == .invalidArgument)
        let other = try PulledImage(store.repository, "team/b")
        #expect(other.digest != usual.digest)
        try other.unpack { root in
            let below = try root.folder().folders["opt"]?.folders["app"]
            let isSame = below == tree.folder.withoutTimes
            #expect(isSame)
        }
        _ = try store.rebuild()
        let name = try RefName("team/b")
        #expect(
            try store.repository.ref(name, domain: .standard)?.imageOptions == entry.imageOptions)
        // A push keeps what the ref says.
        try store.repository.push(try SampleTree.random(4), to: "team/b")
        #expect(
            try store.repository.ref(name, domain: .standard)?.imageOptions == entry.imageOptions)
        #expect(try set("prefix=/").imageOptions == "")
    }

    @Test func `an image is made once, however many ask at once`() throws {
        let store = try TestStore(.disk)
        try store.repository.push(try SampleTree.random(5, largestFile: 40_000), to: "team/a")
        let entry = try #require(
            try store.repository.ref(try RefName("team/a"), domain: .standard))
        let found = Mutex<[Digest?]>([])
        let repository = store.repository
        try WorkerGroup.run(count: 16, name: "pods") { _ in
            let digest = try repository.derivedManifest(entry, domain: .standard)
            found.withLock { $0.append(digest) }
        }
        #expect(Set(found.withLock { $0 }).count == 1)
        #expect(try store.repository.allDerivedImages().count == 1)
    }
}
