import Synchronization

/// Operations on paths as bytes.
enum PathBytes {
    static func parent(_ path: [UInt8]) -> [UInt8] {
        guard let slash = path.lastIndex(of: 0x2f) else { return [] }
        return Array(path[..<slash])
    }

    static func name(_ path: [UInt8]) -> [UInt8] {
        guard let slash = path.lastIndex(of: 0x2f) else { return path }
        return Array(path[(slash + 1)...])
    }

    static func join(_ path: [UInt8], _ name: [UInt8]) -> [UInt8] {
        path.isEmpty ? name : path + [0x2f] + name
    }
}

/// Numbers that several threads share out.
final class SharedCursor: Sendable {
    private let next: Atomic<Int>
    private let count: Int

    init(count: Int) {
        next = Atomic(0)
        self.count = count
    }

    func take() -> Int? {
        let index = next.add(1, ordering: .relaxed).oldValue
        return index < count ? index : nil
    }
}
