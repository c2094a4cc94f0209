import CASCore
import CASFileSystem
import Synchronization

/// What git tracks in a repository: read once, and only when somebody asks.
///
/// An index that cannot be read names nothing.
final class TrackedPaths: Sendable {
    /// All names one behind another, ascending as git keeps them, and where each begins.
    private struct Names {
        var bytes: [UInt8] = []
        var starts: [Int] = []

        mutating func append(_ name: [UInt8]) {
            starts.append(bytes.count)
            bytes += name
        }
    }

    private let gitDirectory: String?
    private let names = Mutex<Names?>(nil)

    /// The paths of the repository whose `.git` is or names this directory; nil for no repository.
    init(gitDirectory: String?) {
        self.gitDirectory = gitDirectory
    }

    /// Whether git tracks the file at a path below the repository's root.
    func contains(_ path: [UInt8]) throws -> Bool {
        try first(from: path) { $0.elementsEqual(path) }
    }

    /// Whether git tracks something in a directory; its path has a slash at its end.
    func hasEntries(below directory: [UInt8]) throws -> Bool {
        try first(from: directory) { $0.starts(with: directory) }
    }

    /// The findings without secrets that git tracks: who committed a file knows of it.
    func withoutTracked(_ findings: [ScanFinding], base: [UInt8]) throws -> [ScanFinding] {
        try findings.filter { finding in
            guard case .secret(let path) = finding else { return true }
            return try !contains(base + path)
        }
    }

    /// What `matches` says of the first name that is not before `path`; false where there is none.
    private func first(
        from path: [UInt8], _ matches: (ArraySlice<UInt8>) -> Bool
    ) throws -> Bool {
        guard let gitDirectory else { return false }
        return try names.withLock { names in
            let known = try names ?? TrackedPaths.read(gitDirectory)
            names = known
            func name(_ index: Int) -> ArraySlice<UInt8> {
                let end =
                    index + 1 < known.starts.count ? known.starts[index + 1] : known.bytes.count
                return known.bytes[known.starts[index]..<end]
            }
            var low = 0
            var high = known.starts.count
            while low < high {
                let middle = (low + high) / 2
                if name(middle).lexicographicallyPrecedes(path) {
                    low = middle + 1
                } else {
                    high = middle
                }
            }
            return low < known.starts.count && matches(name(low))
        }
    }

    private static func read(_ gitDirectory: String) throws -> Names {
        do {
            let file = try OpenFile(reading: FilePaths.join(gitDirectory, "index"))
            let size = Int(try file.status().size)
            let buffer = ReusableBuffer(capacity: size)
            try buffer.append(maximum: size) { try file.read(into: $0) }
            for hashBytes in [20, 32] {
                var names = Names()
                if try GitIndex.parse(buffer.bytes, hashBytes: hashBytes, { names.append($0) }) {
                    return names
                }
            }
            return Names()
        } catch let error as CASError
            where [.notFound, .permissionDenied, .dataLoss].contains(error.code)
        {
            return Names()
        }
    }
}
