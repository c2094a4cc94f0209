import CASCore
import CASTree

/// Lines for the entries of a tree.
final class TreeLister {
    private let reader: StoreReader
    private let isLong: Bool
    private let isRecursive: Bool
    private let isJSON: Bool
    private var table = TextTable(.left, .right, .left, .left)
    private var names: [String] = []
    private var documents: [JSONText] = []

    init(reader: StoreReader, isLong: Bool, isRecursive: Bool, isJSON: Bool) {
        self.reader = reader
        self.isLong = isLong
        self.isRecursive = isRecursive
        self.isJSON = isJSON
    }

    /// Adds a directory's entries, by name.
    func list(_ digest: Digest, attributes: Digest?) throws {
        try TreeWalk.run(
            root: digest, attributes: attributes, source: reader, limits: .standard
        ) { step in
            if step.depth == 0 || isRecursive { add(step) }
            return isRecursive
        }
    }

    private func add(_ step: TreeWalk.Step) {
        func below(_ name: EntryName) -> [UInt8] {
            step.path.isEmpty ? name.bytes : step.path + [UInt8(ascii: "/")] + name.bytes
        }
        let directory = step.directory
        var entries: [(name: EntryName, add: () -> Void)] = []
        for (index, file) in directory.files.enumerated() {
            let attributes = step.attributes.flatMap {
                $0.files.indices.contains(index) ? $0.files[index] : nil
            }
            entries.append((file.name, { self.add(file, attributes, path: below(file.name)) }))
        }
        for child in directory.directories {
            entries.append((child.name, { self.add(child, path: below(child.name)) }))
        }
        for link in directory.symlinks {
            entries.append((link.name, { self.add(link, path: below(link.name)) }))
        }
        for entry in entries.sorted(by: { $0.name < $1.name }) { entry.add() }
    }

    /// Adds a file.
    func add(_ file: FileNode, _ attributes: FileAttributes?, path: [UInt8]) {
        let permissions = attributes?.permissions ?? (file.isExecutable ? 0o755 : 0o644)
        if isJSON {
            documents.append(
                .object([
                    ("path", .text(PathText.printable(path))), ("kind", .text("file")),
                    ("digest", .digest(file.digest)), ("size", .count(file.size)),
                    ("executable", .boolean(file.isExecutable)),
                    ("mode", .text(String(permissions, radix: 8))),
                    ("modified", .optional(attributes?.modified.iso8601)),
                ]))
        } else if isLong {
            table.add(
                "-" + TreeLister.mode(permissions), grouped(file.size),
                attributes?.modified.iso8601 ?? "-",
                file.digest.short + "  " + PathText.printable(path))
        } else {
            names.append(PathText.printable(path))
        }
    }

    /// Adds a symbolic link.
    func add(_ link: SymlinkNode, path: [UInt8]) {
        let target = PathText.printable(link.target)
        if isJSON {
            documents.append(
                .object([
                    ("path", .text(PathText.printable(path))), ("kind", .text("symlink")),
                    ("target", .text(target)),
                ]))
        } else if isLong {
            table.add(
                "lrwxrwxrwx", grouped(link.target.count), "-",
                String(repeating: "-", count: 12) + "  \(PathText.printable(path)) -> \(target)")
        } else {
            names.append(PathText.printable(path))
        }
    }

    private func add(_ child: DirectoryNode, path: [UInt8]) {
        if isJSON {
            documents.append(
                .object([
                    ("path", .text(PathText.printable(path))), ("kind", .text("directory")),
                    ("digest", .digest(child.digest)),
                ]))
        } else if isLong {
            table.add("d", "-", "-", child.digest.short + "  " + PathText.printable(path) + "/")
        } else {
            names.append(PathText.printable(path) + "/")
        }
    }

    /// Prints everything that was added.
    func print(_ resolved: ResolvedSnapshot) {
        if isJSON {
            Console.data(
                .object([
                    ("ref", .optional(resolved.ref?.description)),
                    ("snapshot", .digest(resolved.digest)),
                    ("tree", .digest(resolved.snapshot.tree.digest)),
                    ("entries", .list(documents)),
                ]))
        } else {
            Console.data(lines: isLong ? table.lines() : names)
        }
    }

    private static func mode(_ permissions: UInt16) -> String {
        let letters: [Character] = ["r", "w", "x"]
        return String(
            (0..<9).map { permissions & (0o400 >> UInt16($0)) != 0 ? letters[$0 % 3] : "-" })
    }
}
