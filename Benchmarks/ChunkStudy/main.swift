import CASChunking
import CASCompression
import CASCore
import Foundation

// ChunkStudy LEVEL... -- AVERAGE... -- DIRECTORY...
//
// The directories are successive versions of one thing. For each average chunk size and zstd level
// prints what storing all of them costs, what each later version adds, and how fast one thread cuts,
// hashes and compresses. The figures behind ops/decisions/0001-chunk-size-and-level.md.

/// The regular files below a directory, sorted by path.
func files(below directory: String) -> [String] {
    let walker = FileManager.default.enumerator(
        at: URL(filePath: directory),
        includingPropertiesForKeys: [.isRegularFileKey, .isSymbolicLinkKey])
    var paths: [String] = []
    while let url = walker?.nextObject() as? URL {
        guard let values = try? url.resourceValues(forKeys: [.isRegularFileKey]),
            values.isRegularFile == true
        else { continue }
        paths.append(url.path)
    }
    return paths.sorted()
}

struct Tally {
    var raw = 0
    var stored = 0
    var frames = 0
    var seconds = 0.0
}

/// Stores one version into `known` and returns what was new.
func store(
    _ paths: [String], chunker: Chunker, compressor: Compressor, known: inout Set<Digest>
) throws -> Tally {
    var tally = Tally()
    let output = ReusableBuffer(capacity: 8 << 20)
    let clock = ContinuousClock()
    for path in paths {
        let data = try Data(contentsOf: URL(filePath: path), options: .alwaysMapped)
        let elapsed = try clock.measure {
            try data.withUnsafeBytes { all in
                if all.count > chunker.parameters.maximumBytes { _ = Digest.of(all) }
                var start = 0
                repeat {
                    let rest = UnsafeRawBufferPointer(rebasing: all[start...])
                    let count =
                        all.count <= chunker.parameters.maximumBytes
                        ? all.count : chunker.nextCut(rest)
                    let chunk = UnsafeRawBufferPointer(rebasing: rest.prefix(count))
                    if known.insert(Digest.of(chunk)).inserted {
                        output.removeAll()
                        _ = try compressor.encode(chunk, into: output)
                        tally.raw += count
                        tally.stored += output.count + 68
                        tally.frames += 1
                    }
                    start += count
                } while start < all.count
            }
        }
        tally.seconds +=
            Double(elapsed.components.attoseconds) / 1e18 + Double(elapsed.components.seconds)
    }
    return tally
}

let groups = CommandLine.arguments.dropFirst().split(separator: "--").map(Array.init)
guard groups.count == 3 else {
    FileHandle.standardError.write(
        Data("usage: ChunkStudy LEVEL... -- AVERAGE... -- DIRECTORY...\n".utf8))
    exit(64)
}
print(
    "average level | first MB stored ratio | later versions MB new stored | frames | MB/s one thread"
)
for average in groups[1].compactMap({ Int($0) }) {
    for level in groups[0].compactMap({ Int32($0) }) {
        let chunker = Chunker(try ChunkerParameters(averageBytes: average * 1024))
        let compressor = try Compressor(level: level)
        var known: Set<Digest> = []
        var tallies: [Tally] = []
        for directory in groups[2] {
            tallies.append(
                try store(
                    files(below: directory), chunker: chunker, compressor: compressor, known: &known
                ))
        }
        let first = tallies[0]
        let later = tallies.dropFirst().map {
            String(format: "%.1f/%.2f", Double($0.raw) / 1e6, Double($0.stored) / 1e6)
        }
        print(
            String(
                format: "%4d KiB %2d | %8.1f %8.2f %.4f | %@ | %d | %.0f", average, level,
                Double(first.raw) / 1e6, Double(first.stored) / 1e6,
                Double(first.stored) / Double(first.raw),
                later.joined(separator: " "), tallies.map(\.frames).reduce(0, +),
                Double(first.raw) / 1e6 / max(first.seconds, 1e-9)))
    }
}
