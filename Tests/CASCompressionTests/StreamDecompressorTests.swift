import CASCore
import Testing

@testable import CASCompression

@Suite struct StreamDecompressorTests {
    private func compress(_ bytes: [UInt8], _ format: StreamCompressor.Format) throws -> [UInt8] {
        var output: [UInt8] = []
        let compressor = try StreamCompressor(format)
        try bytes.withUnsafeBytes { try compressor.compress($0, isLast: true) { output += $0 } }
        return output
    }

    private func decompress(
        _ bytes: [UInt8], _ format: StreamCompressor.Format, piece: Int
    ) throws -> [UInt8] {
        var output: [UInt8] = []
        let decompressor = try StreamDecompressor(format)
        for start in stride(from: 0, to: bytes.count, by: piece) {
            try bytes[start..<min(start + piece, bytes.count)].withUnsafeBytes {
                try decompressor.decompress($0) { output += $0 }
            }
        }
        try decompressor.finish()
        return output
    }

    private let content = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 / 7 &* $0) }

    @Test(arguments: StreamCompressor.Format.allCases)
    func `what was compressed comes back, in pieces of any size`(
        _ format: StreamCompressor.Format
    ) throws {
        let stored = try compress(content, format)
        for piece in [1_000, 65_537, stored.count] {
            #expect(try decompress(stored, format, piece: piece) == content)
        }
        #expect(try decompress(try compress([], format), format, piece: 1) == [])
        // One behind the other, as several programs write.
        #expect(try decompress(stored + stored, format, piece: 4_096) == content + content)
    }

    @Test(arguments: StreamCompressor.Format.allCases)
    func `what is cut short or damaged is refused`(_ format: StreamCompressor.Format) throws {
        let stored = try compress(content, format)
        for count in [0, 1, 10, stored.count / 2, stored.count - 1] {
            let error = #expect(throws: CASError.self) {
                _ = try decompress(Array(stored[..<count]), format, piece: 4_096)
            }
            #expect(error?.code == .dataLoss)
        }
        var bad = stored
        bad[stored.count / 2] ^= 0xff
        #expect(throws: CASError.self) { _ = try decompress(bad, format, piece: 4_096) }
        #expect(throws: CASError.self) { _ = try decompress([1, 2, 3], format, piece: 1) }
        #expect(throws: CASError.self) {
            _ = try decompress(stored + [1, 2, 3, 4], format, piece: stored.count)
        }
    }
}
