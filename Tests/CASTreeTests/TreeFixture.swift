import CASCore
import CASTestSupport
import CASTree

/// Messages of trees in memory.
final class MemorySource: DirectorySource {
    private(set) var directories: [Digest: Directory] = [:]
    private var attributes: [Digest: AttributesDirectory] = [:]
    /// How often a directory was asked for.
    private(set) var lookups = 0

    func directory(_ digest: Digest) -> Directory? {
        lookups += 1
        return directories[digest]
    }

    func attributes(_ digest: Digest) -> AttributesDirectory? { attributes[digest] }

    func insert(_ directory: Directory) -> SizedDigest {
        let bytes = directory.encode()
        let digest = Digest.of(bytes)
        directories[digest] = directory
        return SizedDigest(digest: digest, size: UInt64(bytes.count))
    }

    func insert(_ value: AttributesDirectory) -> SizedDigest {
        let bytes = value.encode()
        attributes[Digest.of(bytes)] = value
        return SizedDigest(digest: Digest.of(bytes), size: UInt64(bytes.count))
    }

    func remove(_ digest: Digest) { directories[digest] = nil }
}

/// A tree as anybody would write it down: what stands at each path.
indirect enum ModelTree: Equatable {
    case file([UInt8], isExecutable: Bool)
    case link([UInt8])
    case directory([[UInt8]: ModelTree])

    /// A tree of a few levels whose names collide often with those of other such trees.
    static func random(_ random: inout SeededGenerator, depth: Int) -> ModelTree {
        var entries: [[UInt8]: ModelTree] = [:]
        for _ in 0..<Int.random(in: 0..<6, using: &random) {
            entries[name(&random)] = node(&random, depth: depth)
        }
        return .directory(entries)
    }

    private static func node(_ random: inout SeededGenerator, depth: Int) -> ModelTree {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: .link([UInt8(ascii: "t"), UInt8.random(in: 1...3, using: &random)])
        case 1,
            2 where depth > 0:
            self.random(&random, depth: depth - 1)
        default:
            .file([UInt8.random(in: 0..<4, using: &random)], isExecutable: random.next() % 4 == 0)
        }
    }

    private static func name(_ random: inout SeededGenerator) -> [UInt8] {
        let bytes: [UInt8] = [0x2d, 0x61, 0x62, 0xc3, 0xa9, 0xef, 0xff]
        return (0..<Int.random(in: 1...2, using: &random)).map { _ in
            bytes[Int.random(in: bytes.indices, using: &random)]
        }
    }

    /// The tree with a few of its entries changed.
    func edited(_ random: inout SeededGenerator, depth: Int) -> ModelTree {
        guard case .directory(var entries) = self else { return self }
        for name in entries.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            switch Int.random(in: 0..<8, using: &random) {
            case 0: entries[name] = nil
            case 1: entries[name] = ModelTree.node(&random, depth: depth)
            case 2, 3: entries[name] = entries[name]?.edited(&random, depth: depth - 1)
            default: break
            }
        }
        if Bool.random(using: &random) {
            entries[ModelTree.name(&random)] = ModelTree.node(&random, depth: depth)
        }
        return .directory(entries)
    }

    /// Stores the messages of a directory and returns its digest.
    func store(in source: MemorySource) throws -> SizedDigest {
        guard case .directory(let entries) = self else {
            throw CASError(.invalidArgument, "the root of a model is a directory")
        }
        var directory = Directory()
        for (bytes, node) in entries {
            let name = try EntryName(bytes)
            switch node {
            case .file(let content, let isExecutable):
                directory.files.append(
                    FileNode(
                        name: name, digest: Digest.of(content), size: UInt64(content.count),
                        isExecutable: isExecutable))
            case .link(let target):
                directory.symlinks.append(SymlinkNode(name: name, target: target))
            case .directory:
                let stored = try node.store(in: source)
                directory.directories.append(
                    DirectoryNode(name: name, digest: stored.digest, size: stored.size))
            }
        }
        directory.sort()
        return source.insert(directory)
    }

    /// What stands at each path below this directory.
    func flattened(_ prefix: [UInt8] = []) throws -> [[UInt8]: TreeDiff.Node] {
        guard case .directory(let entries) = self else { return [:] }
        var flat: [[UInt8]: TreeDiff.Node] = [:]
        for (name, node) in entries {
            let path = prefix.isEmpty ? name : prefix + [0x2f] + name
            switch node {
            case .file(let content, let isExecutable):
                flat[path] = .file(
                    Digest.of(content), size: UInt64(content.count), isExecutable: isExecutable)
            case .link(let target): flat[path] = .symlink(target)
            case .directory:
                flat[path] = .directory(try node.store(in: MemorySource()).digest)
                flat.merge(try node.flattened(path)) { old, _ in old }
            }
        }
        return flat
    }
}
