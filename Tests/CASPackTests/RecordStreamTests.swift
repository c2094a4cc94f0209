import CASCore
import CASPack
import Testing

@Suite struct RecordStreamTests {
    private func decode(_ pieces: [ArraySlice<UInt8>]) throws -> [Kept] {
        var decoder = RecordStreamDecoder()
        var kept: [Kept] = []
        for piece in pieces {
            try piece.withUnsafeBytes { try decoder.push($0) { kept.append(Kept($0)) } }
        }
        try decoder.finish()
        return kept
    }

    private func cut(_ bytes: [UInt8], _ numbers: inout SeededNumbers, _ most: Int)
        -> [ArraySlice<UInt8>]
    {
        var pieces: [ArraySlice<UInt8>] = []
        var start = 0
        while start < bytes.count {
            let end = min(start + Int.random(in: 0...most, using: &numbers), bytes.count)
            pieces.append(bytes[start..<end])
            start = end
        }
        return pieces
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `hands out the same records however the stream is cut`(seed: UInt64) throws {
        var numbers = SeededNumbers(seed)
        let (bytes, expected) = Samples.records(&numbers, count: 30)
        for most in [1, 3, 64, 70, 1000, 20_000, bytes.count] {
            let found = try decode(cut(bytes, &numbers, most))
            #expect(found == expected, "seed \(seed), pieces up to \(most)")
        }
    }

    @Test func `a record that lies in one piece is handed out where it lies`() throws {
        var numbers = SeededNumbers(1)
        let (bytes, expected) = Samples.records(&numbers, count: 10)
        var inside = 0
        try bytes.withUnsafeBytes { bytes in
            var decoder = RecordStreamDecoder()
            try decoder.push(bytes) { view in
                let start = try #require(view.record.baseAddress)
                let base = try #require(bytes.baseAddress)
                if start >= base, start < base + bytes.count { inside += 1 }
            }
            try decoder.finish()
            #expect(decoder.decodedBytes == UInt64(bytes.count))
        }
        #expect(inside == expected.count)
    }

    @Test func `every truncation is noticed`() throws {
        let buffer = ReusableBuffer()
        RecordCoding.append(kind: .chunk, digest: .zero, payload: [1, 2, 3], to: buffer)
        let bytes = Array(buffer.bytes)
        for end in 1..<bytes.count {
            let error = #expect(throws: CASError.self, "cut at \(end)") {
                _ = try decode([bytes[..<end]])
            }
            #expect(error?.code == .dataLoss)
        }
    }

    @Test func `nothing may follow an end or a failure`() throws {
        for kind in [RecordKind.end, .failure] {
            let buffer = ReusableBuffer()
            RecordCoding.append(kind: kind, digest: .zero, payload: [], to: buffer)
            let whole = Array(buffer.bytes)
            #expect(try decode([whole[...]]).count == 1)
            #expect(throws: CASError.self) { _ = try decode([(whole + [0])[...]]) }
            #expect(throws: CASError.self) { _ = try decode([whole[...], whole[...]]) }
        }
    }

    @Test func `what the receiver throws is thrown`() throws {
        let buffer = ReusableBuffer()
        RecordCoding.append(kind: .chunk, digest: .zero, payload: [1], to: buffer)
        var decoder = RecordStreamDecoder()
        let error = #expect(throws: CASError.self) {
            try decoder.push(buffer.bytes) { _ in throw CASError(.cancelled, "enough") }
        }
        #expect(error?.code == .cancelled)
    }

    @Test(arguments: 0..<1500 as Range<UInt64>)
    func `survives any damage`(seed: UInt64) {
        var numbers = SeededNumbers(seed)
        let (bytes, expected) = Samples.records(&numbers, count: 6)
        let damaged = Samples.mutate(bytes, &numbers)
        var found: [Kept] = []
        do {
            var decoder = RecordStreamDecoder()
            for piece in cut(damaged, &numbers, 4000) {
                try piece.withUnsafeBytes { try decoder.push($0) { found.append(Kept($0)) } }
            }
            try decoder.finish()
        } catch {
            #expect(error is CASError, "seed \(seed): \(error)")
        }
        // Records may be lost or repeated whole, but never changed.
        for record in found { #expect(expected.contains(record), "seed \(seed)") }
    }
}
