/// Sixteen random bytes that name a pack, a push, a lease or a store's incarnation.
package struct Identifier: Hashable, Sendable, CustomStringConvertible {
    /// Bytes in an identifier.
    package static let byteCount = 16
    /// The most significant half.
    package let high: UInt64
    /// The least significant half.
    package let low: UInt64

    /// An identifier from its two halves.
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Where random identifiers come from in a simulation, which has to be repeated exactly; nil elsewhere.
    @TaskLocal package static var source: (@Sendable () -> Identifier)?

    /// A new random identifier.
    package static func random() -> Identifier {
        if let source { return source() }
        var generator = SystemRandomNumberGenerator()
        return Identifier(high: generator.next(), low: generator.next())
    }

    /// Takes exactly 16 bytes, most significant first; nil for any other count.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Identifier.byteCount else { return nil }
        var halves: (UInt64, UInt64) = (0, 0)
        for (index, byte) in bytes.enumerated() {
            if index < 8 {
                halves.0 = halves.0 << 8 | UInt64(byte)
            } else {
                halves.1 = halves.1 << 8 | UInt64(byte)
            }
        }
        self.init(high: halves.0, low: halves.1)
    }

    /// Parses 32 lower-case hexadecimal characters.
    package init?(hexadecimal: some StringProtocol) {
        guard let bytes = Hexadecimal.decode(hexadecimal) else { return nil }
        self.init(bytes: bytes)
    }

    /// The 16 bytes, most significant first.
    package var bytes: [UInt8] {
        withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { Array($0) }
    }

    /// The 32 lower-case hexadecimal characters.
    package var description: String { Hexadecimal.encode(bytes) }
}

extension Identifier: Comparable {
    /// The order of their bytes.
    package static func < (left: Identifier, right: Identifier) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}
