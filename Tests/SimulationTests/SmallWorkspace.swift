import CASCore
import CASFileSystem
import CASTestSupport
import Glibc

/// A workspace of a few small files and a large one, with edits as a person makes them.
///
/// Files are replaced and get a time long ago, so that no cache has reason to doubt them.
struct SmallWorkspace {
    private static let files = 30
    private static let largeBytes = 2_500_000

    let directory: String
    private var generator: SeededGenerator
    private(set) var model: TreeModel

    /// Writes it; workspaces of different seeds share most of their content.
    init(_ directory: String, seed: UInt64) throws {
        self.directory = directory
        generator = SeededGenerator(seed: 0)
        model = TreeModel()
        model.entries[[]] = Self.entry(.directory, 0o755)
        model.entries[Array("package".utf8)] = Self.entry(.directory, 0o755)
        for number in 0..<Self.files {
            let path = Array("\(number % 2 == 0 ? "package/" : "")file\(number)".utf8)
            model.entries[path] = Self.entry(.file(generator.bytes(500 + number * 100)), 0o644)
        }
        let large = generator.bytes(Self.largeBytes)
        model.entries[Array("large".utf8)] = Self.entry(.file(large), 0o644)
        generator = SeededGenerator(seed: seed)
        try model.write(to: directory)
    }

    private static func entry(_ content: TreeModel.Content, _ mode: UInt32) -> TreeModel.Entry {
        TreeModel.Entry(
            content: content, mode: mode,
            modified: TreeModel.Time(seconds: 1_700_000_000, nanoseconds: 0))
    }

    /// Changes a few files, one of them in a way that only its content tells.
    mutating func edit(includingLarge: Bool = false) throws {
        for _ in 0..<3 {
            let number = Int.random(in: 0..<Self.files, using: &generator)
            let path = "\(number % 2 == 0 ? "package/" : "")file\(number)"
            let count = Int.random(in: 1..<5_000, using: &generator)
            try replace(path, generator.bytes(count))
        }
        guard includingLarge else { return }
        guard case .file(var bytes) = model.entries[Array("large".utf8)]?.content else { return }
        let position = Int.random(in: 0..<bytes.count, using: &generator)
        bytes.replaceSubrange(position..<position, with: generator.bytes(300_000))
        try replace("large", bytes)
    }

    private mutating func replace(_ path: String, _ bytes: [UInt8]) throws {
        let time = TreeModel.Time(
            seconds: 1_700_000_000,
            nanoseconds: Int.random(in: 0..<1_000_000_000, using: &generator))
        var entry = Self.entry(.file(bytes), 0o644)
        entry.modified = time
        model.entries[Array(path.utf8)] = entry
        var part = TreeModel()
        part.entries[Array(FilePaths.name(path).utf8)] = entry
        let parent = FilePaths.parent("\(directory)/\(path)")
        try Host.removeTree("\(directory)/\(path)")
        try part.write(to: parent)
        // Directories get a new time by that.
        for name in ["", "package"] {
            let full = Array("\(directory)/\(name)".utf8)
            let time = timespec(tv_sec: 1_700_000_000, tv_nsec: 0)
            guard withPath(full, { utimensat(AT_FDCWD, $0, [time, time], 0) }) == 0 else {
                throw failure(full)
            }
        }
    }
}
