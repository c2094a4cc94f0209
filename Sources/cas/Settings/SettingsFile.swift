import CASCore
import CASFileSystem

/// The keys of one settings file, before anybody knows what they mean.
struct SettingsFile: Sendable {
    /// Bytes that a settings file may have at most.
    private static let maximumBytes = 1 << 20

    let path: String
    let entries: [YAMLText.Entry]

    /// Reads a file; nil where there is none.
    init?(path: String) throws {
        let bytes: [UInt8]?
        do {
            bytes = try DiskFileSystem().read(path, maximumBytes: SettingsFile.maximumBytes)
        } catch let error as CASError where error.code == .notFound { bytes = nil }
        guard let bytes else { return nil }
        self.path = path
        switch try YAMLText.parse(bytes, path: path) {
        case .mapping(let entries): self.entries = entries
        case .scalar(""), .scalar("null"), .scalar("~"): entries = []
        case .scalar, .sequence:
            throw CASError(
                .invalidArgument, "\(path) holds no settings", hint: "write lines like: to: team/x")
        }
    }

    /// Throws for keys that are not among `known`, with their line.
    func check(known: [String], refused: [String: String] = [:], hint: String = "") throws {
        var seen: Set<String> = []
        for entry in entries {
            if let reason = refused[entry.key] {
                throw CASError(
                    .invalidArgument, "\(path):\(entry.line): '\(printable(entry.key))' \(reason)",
                    hint: hint)
            }
            guard known.contains(entry.key) else {
                throw CASError(
                    .invalidArgument,
                    "\(path):\(entry.line): '\(printable(entry.key))' is not a setting here",
                    hint: "settings of this file: " + known.joined(separator: ", "))
            }
            guard seen.insert(entry.key).inserted else {
                throw CASError(
                    .invalidArgument, "\(path):\(entry.line): '\(entry.key)' is given twice")
            }
        }
    }

    /// The text of a key; nil where it is not given.
    func text(_ key: String) throws -> String? {
        guard let entry = entries.first(where: { $0.key == key }) else { return nil }
        guard case .scalar(let text) = entry.value else {
            throw CASError(.invalidArgument, "\(path):\(entry.line): '\(key)' must be one value")
        }
        return text.isEmpty ? nil : text
    }

    /// The texts of a key, a list or one value; empty where it is not given.
    func texts(_ key: String) throws -> [String] {
        guard let entry = entries.first(where: { $0.key == key }) else { return [] }
        switch entry.value {
        case .scalar(let text): return text.isEmpty ? [] : [text]
        case .sequence(let values):
            return try values.map {
                guard case .scalar(let text) = $0 else {
                    throw CASError(
                        .invalidArgument, "\(path):\(entry.line): '\(key)' must be a list of texts")
                }
                return text
            }
        case .mapping:
            throw CASError(
                .invalidArgument, "\(path):\(entry.line): '\(key)' must be a list of texts")
        }
    }

    /// The number of bytes of a key: `2GiB`; nil where it is not given.
    func bytes(_ key: String) throws -> UInt64? {
        guard let text = try text(key) else { return nil }
        guard let count = ByteCount.parse(text) else {
            throw CASError(
                .invalidArgument, "\(path): '\(key)' is '\(printable(text))', which is no size",
                hint: "write a number with KiB, MiB, GiB or TiB")
        }
        return count
    }
}
