/// Changes samples at random; the same seed makes the same inputs.
package struct Mutator<Generator: RandomNumberGenerator> {
    private var random: Generator
    private let samples: [[UInt8]]
    private static var telling: [UInt8] { [0, 1, 0x2f, 0x3a, 0x7f, 0x80, 0xef, 0xfe, 0xff] }

    /// A mutator of these samples.
    package init(_ samples: [[UInt8]], _ random: Generator) {
        self.samples = samples.isEmpty ? [[]] : samples
        self.random = random
    }

    private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

    /// The next input; every hundredth one is noise.
    package mutating func next() -> [UInt8] {
        if below(100) == 0 {
            return (0..<below(200)).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        var bytes = samples[below(samples.count)]
        for _ in 0...below(4) { change(&bytes) }
        return bytes
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        guard !bytes.isEmpty else {
            bytes.append(UInt8.random(in: 0...255, using: &random))
            return
        }
        let place = below(bytes.count)
        let run = place..<min(place + 1 + below(9), bytes.count)
        switch below(8) {
        case 0: bytes[place] ^= 1 << UInt8(below(8))
        case 1: bytes[place] = Self.telling[below(Self.telling.count)]
        case 2: bytes[place] = bytes[place] &+ UInt8(truncatingIfNeeded: below(9) - 4)
        case 3: bytes.removeSubrange(run)
        case 4: bytes.insert(contentsOf: bytes[run], at: place)
        case 5: bytes.removeSubrange(place...)
        case 6:
            for index in run { bytes[index] = Self.telling[below(Self.telling.count)] }
        default:
            let other = samples[below(samples.count)]
            guard !other.isEmpty else { return }
            bytes.replaceSubrange(place..., with: other[below(other.count)...])
        }
    }
}
