import CASCore
import CASOCI
import CASTestSupport
import CASTree

/// A tree in memory that becomes layers.
struct PlantedTree: LayerSource {
    /// Something in a directory.
    indirect enum Node {
        case file([UInt8], isExecutable: Bool = false)
        case link(String)
        case folder([String: Node])

        /// Everything below, by path.
        func flattened(_ path: String = "") -> [String: Node] {
            guard case .folder(let entries) = self else { return [path: self] }
            var all: [String: Node] = path.isEmpty ? [:] : [path: .folder([:])]
            for (name, node) in entries {
                all.merge(node.flattened(path.isEmpty ? name : "\(path)/\(name)")) { $1 }
            }
            return all
        }
    }

    private(set) var root = Digest.zero
    private var directories: [Digest: Directory] = [:]
    private var sums: [Digest: TreeTotals] = [:]
    /// Contents of the files.
    private(set) var files: [Digest: [UInt8]] = [:]

    init(_ node: Node) throws {
        guard case .folder(let entries) = node else {
            throw CASError(.invalidArgument, "a tree is a folder")
        }
        root = try add(entries).digest
    }

    private mutating func add(_ entries: [String: Node]) throws -> (digest: Digest, size: UInt64) {
        var directory = Directory()
        for (text, node) in entries {
            let name = try EntryName(text)
            switch node {
            case .file(let content, let isExecutable):
                let digest = Digest.of(content)
                files[digest] = content
                directory.files.append(
                    FileNode(
                        name: name, digest: digest, size: UInt64(content.count),
                        isExecutable: isExecutable))
            case .link(let target):
                directory.symlinks.append(SymlinkNode(name: name, target: Array(target.utf8)))
            case .folder(let below):
                let child = try add(below)
                directory.directories.append(
                    DirectoryNode(name: name, digest: child.digest, size: child.size))
            }
        }
        directory.sort()
        let bytes = directory.encode()
        let digest = Digest.of(bytes)
        var totals = directory.ownTotals
        for child in directory.directories { totals.add(sums[child.digest] ?? TreeTotals()) }
        directories[digest] = directory
        sums[digest] = totals
        return (digest, UInt64(bytes.count))
    }

    func directory(_ digest: Digest) throws -> Directory? { directories[digest] }
    func totals(_ digest: Digest) throws -> TreeTotals? { sums[digest] }

    /// The bytes of a layer.
    func layer(_ part: LayerPart, _ options: LayerOptions) throws -> [UInt8] {
        var archive = Archive(files: files)
        try LayerEncoder(options).encode(part, root: root, source: self, to: &archive)
        return archive.output
    }

    private struct Archive: LayerConsumer {
        let files: [Digest: [UInt8]]
        var output: [UInt8] = []

        mutating func bytes(_ bytes: UnsafeRawBufferPointer) throws { output += bytes }
        mutating func file(_ digest: Digest, size: UInt64) throws {
            guard let content = files[digest], UInt64(content.count) == size else {
                throw CASError(.notFound, "a file lacks", digest: digest)
            }
            output += content
        }
    }

    /// A random tree in which sizes differ by orders of magnitude.
    static func random(_ random: inout SeededGenerator, depth: Int = 4) -> Node {
        var entries: [String: Node] = [:]
        for index in 0..<random.pick(0...9) {
            switch random.pick(0...9) {
            case 0: entries["link-\(index)"] = .link("../\(random.next())")
            case 1...4 where depth > 0:
                entries["d\(index).x"] = Self.random(&random, depth: depth - 1)
            case 5: entries["ö-\(index)"] = .file(random.bytes(random.pick(0...9)))
            default:
                entries["file-\(index)"] = .file(
                    random.bytes(1 << random.pick(0...13)), isExecutable: random.pick(0...1) == 0)
            }
        }
        return .folder(entries)
    }
}
