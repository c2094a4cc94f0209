import CASCore
import CASPack

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }
}

/// A record with copies of what a view lends.
struct Kept: Equatable {
    let header: RecordHeader
    let payload: [UInt8]
    let record: [UInt8]

    init(_ view: RecordView) {
        header = view.header
        payload = Array(view.payload)
        record = Array(view.record)
    }
}

enum Samples {
    /// Records of every kind with payloads of varied sizes, one after the other.
    static func records(_ numbers: inout SeededNumbers, count: Int) -> (
        bytes: [UInt8], kept: [Kept]
    ) {
        let buffer = ReusableBuffer()
        for _ in 0..<count { appendRandom(&numbers, RecordKind.allCases.dropLast(2), buffer) }
        return (Array(buffer.bytes), kept(Array(buffer.bytes)))
    }

    /// The same, of kinds that may stand in packs.
    static func pack(_ numbers: inout SeededNumbers, count: Int) -> [UInt8] {
        let header = PackHeader(
            packClass: .small, identifier: Identifier(high: numbers.next(), low: numbers.next()),
            incarnation: Identifier(high: 1, low: 2), created: Timestamp(seconds: 1_800_000_000))
        let buffer = ReusableBuffer()
        buffer.append(header.encode())
        let kinds = RecordKind.allCases.filter { $0.isStored }
        for _ in 0..<count { appendRandom(&numbers, kinds[...], buffer) }
        return Array(buffer.bytes)
    }

    private static func appendRandom(
        _ numbers: inout SeededNumbers, _ kinds: ArraySlice<RecordKind>, _ buffer: ReusableBuffer
    ) {
        let kind = kinds[Int.random(in: kinds.indices, using: &numbers)]
        if kind.hasNoPayload {
            let length = kind == .chunkReference ? Int.random(in: 1...4096, using: &numbers) : 0
            RecordCoding.appendMark(
                kind: kind, digest: Digest.of(numbers.bytes(4)), rawLength: length, to: buffer)
            return
        }
        let sizes = [0, 1, 59, 600, 9000]
        let payload = numbers.bytes(sizes[Int.random(in: sizes.indices, using: &numbers)])
        RecordCoding.append(kind: kind, digest: Digest.of(payload), payload: payload, to: buffer)
    }

    static func kept(_ bytes: [UInt8], limits: Limits = .standard) -> [Kept] {
        var kept: [Kept] = []
        do {
            try bytes.withUnsafeBytes { bytes in
                try RecordCoding.forEach(in: bytes, limits: limits) { kept.append(Kept($0)) }
            }
        } catch {
            preconditionFailure("a sample does not decode: \(error)")
        }
        return kept
    }

    /// One to four random changes: bytes replaced, cut out, repeated, or the end cut off.
    static func mutate(_ bytes: [UInt8], _ numbers: inout SeededNumbers) -> [UInt8] {
        var changed = bytes
        for _ in 0..<Int.random(in: 1...4, using: &numbers) where !changed.isEmpty {
            let place = Int.random(in: changed.indices, using: &numbers)
            let run = place..<min(place + Int.random(in: 1...9, using: &numbers), changed.count)
            switch Int.random(in: 0..<5, using: &numbers) {
            case 0: changed[place] ^= UInt8(1) << UInt8.random(in: 0..<8, using: &numbers)
            case 1: changed.replaceSubrange(run, with: numbers.bytes(run.count))
            case 2: changed.removeSubrange(run)
            case 3: changed.insert(contentsOf: changed[run], at: place)
            default: changed.removeSubrange(place...)
            }
        }
        return changed
    }
}
