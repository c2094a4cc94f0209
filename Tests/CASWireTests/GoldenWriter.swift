import CASCore
import Foundation
import Testing

/// Prints the golden file when it has to be made anew for a new format version.
@Suite struct GoldenWriter {
    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAS_WRITE_GOLDEN"] != nil))
    func `writes the golden file`() throws {
        let lines = try Samples.all().map { sample in
            "\(sample.name.replacing(" ", with: "")) \(Hexadecimal.encode(sample.bytes))"
        }
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "format-1.txt")
        try (lines.joined(separator: "\n") + "\n").write(to: url, atomically: true, encoding: .utf8)
    }
}
