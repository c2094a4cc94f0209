import CASCore
import CASFileSystem
import Synchronization

/// What layers turned out to be, by what they depend on, so that nobody reads a tree again to learn it.
///
/// A file of lines, in the user's cache; without it everything is only slower.
package final class LayerMemory: Sendable {
    private static let maximumBytes = 8 << 20
    private static let maximumEntries = 20_000

    private struct State {
        var entries: [String: LayerDescription] = [:]
        var order: [String] = []
        var isChanged = false
    }

    /// The file.
    package let path: String
    private let state: Mutex<State>

    /// Reads the file; one that is damaged counts for nothing.
    package init(path: String) throws {
        self.path = path
        var loaded = State()
        let bytes: [UInt8]
        do {
            bytes =
                try DiskFileSystem().read(path, maximumBytes: LayerMemory.maximumBytes) ?? []
        } catch let error as CASError where error.code == .resourceExhausted { bytes = [] }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 5, let diffID = Digest(hexadecimal: words[2]),
                let digest = Digest(hexadecimal: words[3]), let size = UInt64(words[4])
            else { continue }
            let key = "\(words[0]) \(words[1])"
            if loaded.entries[key] == nil { loaded.order.append(key) }
            loaded.entries[key] = LayerDescription(diffID: diffID, digest: digest, size: size)
        }
        state = Mutex(loaded)
    }

    private static func key(_ key: Digest, _ version: String) -> String {
        "\(key.hexadecimal) \(version)"
    }

    /// What is known of a layer of that key, made by a compressor of that version.
    func find(_ key: Digest, _ version: String) -> LayerDescription? {
        state.withLock { $0.entries[LayerMemory.key(key, version)] }
    }

    /// Takes note of a layer.
    func set(_ key: Digest, _ version: String, _ description: LayerDescription) {
        let key = LayerMemory.key(key, version)
        state.withLock { state in
            if state.entries[key] == nil { state.order.append(key) }
            state.entries[key] = description
            state.isChanged = true
        }
    }

    /// Forgets a layer that turned out to be another.
    func remove(_ key: Digest, _ version: String) {
        let key = LayerMemory.key(key, version)
        state.withLock { state in
            state.entries[key] = nil
            state.order.removeAll { $0 == key }
            state.isChanged = true
        }
    }

    /// Writes the file, the newest entries of it, if anything changed.
    package func save() throws {
        let text: String? = state.withLock { state in
            guard state.isChanged else { return nil }
            state.isChanged = false
            return state.order.suffix(LayerMemory.maximumEntries).compactMap { key in
                state.entries[key].map {
                    "\(key) \($0.diffID.hexadecimal) \($0.digest.hexadecimal) \($0.size)\n"
                }
            }.joined()
        }
        guard let text else { return }
        try DiskFileSystem().createDirectory(FilePaths.parent(path))
        try DiskFileSystem().replace(path, Array(text.utf8))
    }
}
