import CASCompression
import CASCore
package import CASOCI

/// An empty directory of an image, with its mode: what a tree can not say, as trees know nothing of modes.
package struct EmptyDirectory: Hashable, Sendable, CustomStringConvertible {
    /// Its path, without a slash in front.
    package let path: String
    /// Its permission bits and the sticky one.
    package let mode: UInt32

    /// Parses `/PATH[=MODE]`, the mode in octal digits (755); throws `invalidArgument`.
    package init(_ text: String) throws {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let names = parts[0].split(separator: "/")
        guard parts[0].hasPrefix("/"), !names.isEmpty,
            !names.contains(where: { $0 == "." || $0 == ".." }),
            parts[0].utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f })
        else {
            throw CASError(
                .invalidArgument, "'\(text)' is no directory of an image", hint: "write /tmp=1777")
        }
        guard let mode = parts.count > 1 ? UInt32(parts[1], radix: 8) : 0o755, mode & ~0o1777 == 0
        else {
            throw CASError(
                .invalidArgument,
                "'\(text)' has no mode of a directory: octal digits up to 1777",
                hint: "write /tmp=1777")
        }
        path = names.joined(separator: "/")
        self.mode = mode
    }

    /// `/tmp=1777`.
    package var description: String { "/\(path)=" + String(mode, radix: 8) }
}

/// A layer of empty directories.
package struct DirectoryLayer: LayerProducer {
    package let title: String
    package let isDerived = false
    private let description: LayerDescription
    private let stored: [UInt8]

    /// The layer of these, sorted by their paths; of two with one path the last counts.
    package init(
        _ directories: [EmptyDirectory], owner options: LayerOptions,
        compression: LayerCompression, level: Int? = nil
    ) throws {
        var modes: [String: EmptyDirectory] = [:]
        for directory in directories { modes[directory.path] = directory }
        let sorted = JSON.sorted(modes.keys).compactMap { modes[$0] }
        var bytes: [UInt8] = []
        for directory in sorted {
            TarHeader(
                path: Array(directory.path.utf8), kind: .directory, mode: directory.mode,
                userID: UInt64(options.userID), groupID: UInt64(options.groupID)
            ).append(to: &bytes)
        }
        bytes += [UInt8](repeating: 0, count: 2 * TarHeader.blockBytes)
        var stored = bytes
        if let format = compression.format {
            stored = []
            try bytes.withUnsafeBytes {
                try StreamCompressor(format, level: level).compress($0, isLast: true) {
                    stored += $0
                }
            }
        }
        title = "directories " + sorted.map(\.description).joined(separator: " ")
        description = LayerDescription(
            diffID: Digest.of(bytes), digest: Digest.of(stored), size: UInt64(stored.count))
        self.stored = stored
    }

    package func describe() -> LayerDescription { description }

    package func write(_ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        try stored.withUnsafeBytes { try sink($0) }
    }

    package func close() {}
}
