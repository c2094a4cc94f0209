import CASTestSupport

/// Trees with everything that a workspace may hold, and edits of them, from a seed.
struct RandomTree {
    /// Bytes above which a file is cut into chunks, whatever the average.
    private static let largeBytes = 1_200_000
    /// Names that get lost where bytes are treated as text: both forms of one letter, what escapes
    /// stand for, and text that is none.
    private static let hardNames: [[UInt8]] = [
        [0xc3, 0xa9], [0x65, 0xcc, 0x81], [0xef, 0x9c, 0x80], [0xef, 0x9c, 0x81, 0x80], [0xff],
        [0x80], [0x0a], [0x20], [0x2e, 0x2e, 0x2e], [0xed, 0xa0, 0x80], [0x5c], [0x2a],
        [0x2d, 0x6c],
        [UInt8](repeating: 0x78, count: 255), [0xef, 0x9f, 0xbf], [0x1b, 0x5b, 0x6d], [0x25, 0x41],
    ]

    var generator: SeededGenerator
    private(set) var model = TreeModel()

    /// A tree; the same seed gives the same one.
    init(seed: UInt64, entries: Int) {
        generator = SeededGenerator(seed: seed)
        model.entries[[]] = entry(.directory)
        for _ in 0..<entries { add() }
        // One of each, whatever the dice say.
        let bytes = generator.bytes(Self.largeBytes * 2)
        model.entries[Array("large".utf8)] = entry(.file(bytes))
        model.entries[Array("empty".utf8)] = entry(.file([]))
        model.entries[Array("nothing".utf8)] = entry(.directory)
        model.entries[Array("dangling".utf8)] = entry(.link(Array("no/such/thing".utf8)))
    }

    // MARK: - Edits

    /// Changes some of everything.
    mutating func edit(_ count: Int) {
        for _ in 0..<count {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0, 1: add()
            case 2: remove()
            case 3: move()
            case 4: changeTime()
            case 5: changeMode()
            case 6: replace()
            default: changeContent()
            }
        }
        changeLarge()
    }

    private mutating func remove() {
        let path = anyPath()
        guard !path.isEmpty else { return }
        model.entries = model.entries.filter { !isAtOrBelow($0.key, path) }
    }

    private mutating func move() {
        let path = anyPath()
        let parent = anyDirectory()
        guard !path.isEmpty, !isAtOrBelow(parent, path) else { return }
        guard let target = newPath(in: parent) else { return }
        for (key, value) in model.entries where isAtOrBelow(key, path) {
            model.entries[key] = nil
            model.entries[target + key.dropFirst(path.count)] = value
        }
    }

    private mutating func changeTime() {
        let (path, time) = (anyPath(), time())
        // Times of links alone have a test of their own.
        if case .link = model.entries[path]?.content { return }
        model.entries[path]?.modified = time
    }

    private mutating func changeMode() {
        let path = anyPath()
        guard let old = model.entries[path] else { return }
        let mode = mode(old.content)
        model.entries[path]?.mode = mode
    }

    /// Something of another kind under the same name.
    private mutating func replace() {
        let path = anyPath()
        guard !path.isEmpty else { return }
        model.entries = model.entries.filter { !isAtOrBelow($0.key, path) }
        model.entries[path] = entry(content())
    }

    private mutating func changeContent() {
        let path = anyPath()
        guard case .file(var bytes) = model.entries[path]?.content else { return }
        let position = Int.random(in: 0...bytes.count, using: &generator)
        if Bool.random(using: &generator) {
            bytes.insert(contentsOf: generator.bytes(7), at: position)
        } else if position < bytes.count {
            // The size stays: only the time tells.
            bytes[position] ^= 1
        }
        model.entries[path] = entry(.file(bytes))
    }

    private mutating func changeLarge() {
        let path = Array("large".utf8)
        guard case .file(var bytes) = model.entries[path]?.content, !bytes.isEmpty else { return }
        let position = Int.random(in: 0..<bytes.count, using: &generator)
        bytes.insert(contentsOf: generator.bytes(11), at: position)
        model.entries[path] = entry(.file(bytes))
    }

    // MARK: - Entries

    private mutating func add() {
        guard let path = newPath(in: anyDirectory()) else { return }
        model.entries[path] = entry(content())
    }

    private mutating func entry(_ content: TreeModel.Content) -> TreeModel.Entry {
        TreeModel.Entry(content: content, mode: mode(content), modified: time())
    }

    private mutating func content() -> TreeModel.Content {
        switch Int.random(in: 0..<20, using: &generator) {
        case 0..<5: return .directory
        case 5, 6:
            return .link(
                generator.bytes(1 + Int.random(in: 0..<9, using: &generator)).filter { $0 != 0 } + [
                    0x61
                ])
        case 7: return .link(Array("../../elsewhere".utf8))
        case 8: return .file([])
        case 9: return .file(anyContent())
        case 10:
            let count = Int.random(in: 200_000..<900_000, using: &generator)
            return .file(generator.bytes(count))
        case 11:
            let text = generator.bytes(64)
            let count = Int.random(in: 1..<5_000, using: &generator)
            return .file(Array(repeatElement(text, count: count).joined()))
        default:
            return .file(generator.bytes(Int.random(in: 1..<3_000, using: &generator)))
        }
    }

    /// What another file holds, as hard links and copies do.
    private mutating func anyContent() -> [UInt8] {
        guard case .file(let bytes) = model.entries[anyPath()]?.content else { return [1] }
        return bytes
    }

    private mutating func mode(_ content: TreeModel.Content) -> UInt32 {
        let bits = UInt32.random(in: 0...0o777, using: &generator)
        switch content {
        case .link: return 0
        // Who does not run as root must be able to use them.
        case .directory: return bits | 0o700
        case .file: return bits | 0o400
        }
    }

    private mutating func time() -> TreeModel.Time {
        // From before 1970 until after 2038, where counters of 32 bits end.
        TreeModel.Time(
            seconds: Int.random(in: -1_000_000_000..<4_000_000_000, using: &generator),
            nanoseconds: Int.random(in: 0..<1_000_000_000, using: &generator))
    }

    // MARK: - Paths

    private mutating func anyPath() -> [UInt8] { any { _ in true } }
    private mutating func anyDirectory() -> [UInt8] { any { $0 == .directory } }

    private mutating func any(_ isWanted: (TreeModel.Content) -> Bool) -> [UInt8] {
        // Sorted: a dictionary's order differs from run to run.
        let paths = model.entries.filter { isWanted($0.value.content) }.keys
            .sorted { $0.lexicographicallyPrecedes($1) }
        return paths.randomElement(using: &generator) ?? []
    }

    /// A path for a new entry; nil where the dice give none.
    private mutating func newPath(in directory: [UInt8]) -> [UInt8]? {
        var name = Self.hardNames.randomElement(using: &generator) ?? [0x61]
        if Int.random(in: 0..<3, using: &generator) > 0 {
            let count = Int.random(in: 1..<12, using: &generator)
            name = generator.bytes(count).filter { $0 != 0 && $0 != slash }
        }
        let isForbidden = name.isEmpty || name == [dot] || name == [dot, dot]
        let path = directory.isEmpty ? name : directory + [slash] + name
        guard !isForbidden, path.count < 1_500, model.entries[path] == nil else { return nil }
        return path
    }

    private func isAtOrBelow(_ path: [UInt8], _ parent: [UInt8]) -> Bool {
        path == parent || path.starts(with: parent + [slash])
    }
}
