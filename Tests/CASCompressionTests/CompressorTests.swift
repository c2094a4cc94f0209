import CASCompression
import CASCore
import CASTestSupport
import Testing

@Suite struct CompressorTests {
    private func roundTrip(_ raw: [UInt8]) throws -> (FrameCodec, Int) {
        let output = ReusableBuffer()
        let codec = try raw.withUnsafeBytes { try Compressor().encode($0, into: output) }
        var back = [UInt8](repeating: 0xAA, count: raw.count)
        try back.withUnsafeMutableBytes {
            try Decompressor().decode(output.bytes, codec: codec, rawLength: raw.count, into: $0)
        }
        #expect(back == raw)
        return (codec, output.count)
    }

    @Test(arguments: [0, 1, 63, 64, 65, 4096, 1 << 20])
    func `gives back text of any length`(count: Int) throws {
        let raw = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7) }
        let (codec, stored) = try roundTrip(raw)
        if count >= 4096 {
            #expect(codec == .zstd)
            #expect(stored < count / 2)
        }
    }

    @Test func `stores what does not shrink as it is`() throws {
        var generator = SystemRandomNumberGenerator()
        let raw = (0..<100_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let (codec, stored) = try roundTrip(raw)
        #expect(codec == .raw)
        #expect(stored == raw.count)
    }

    @Test func `appends behind what the buffer holds`() throws {
        let output = ReusableBuffer()
        output.append([1, 2, 3])
        let raw = [UInt8](repeating: 7, count: 1000)
        let codec = try raw.withUnsafeBytes { try Compressor().encode($0, into: output) }
        #expect(codec == .zstd)
        #expect(Array(output.bytes.prefix(3)) == [1, 2, 3])
    }

    @Test func `refuses a frame of another length or of no zstd at all`() throws {
        let output = ReusableBuffer()
        let raw = [UInt8](repeating: 7, count: 1000)
        _ = try raw.withUnsafeBytes { try Compressor().encode($0, into: output) }
        var back = [UInt8](repeating: 0, count: 2000)
        for length in [0, 999, 1001] {
            #expect(throws: CASError.self) {
                try back.withUnsafeMutableBytes {
                    try Decompressor().decode(
                        output.bytes, codec: .zstd, rawLength: length, into: $0)
                }
            }
        }
        #expect(throws: CASError.self) {
            try raw.withUnsafeBytes { source in
                try back.withUnsafeMutableBytes {
                    try Decompressor().decode(source, codec: .zstd, rawLength: 1000, into: $0)
                }
            }
        }
        #expect(throws: CASError.self) {
            try raw.withUnsafeBytes { source in
                try back.withUnsafeMutableBytes {
                    try Decompressor().decode(source, codec: .raw, rawLength: 999, into: $0)
                }
            }
        }
    }
}
