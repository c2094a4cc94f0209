import CASCore

/// One decoder and what has to hold of it for any bytes.
///
/// Two engines run the same targets: the suite in Tests/FuzzTests, which mutates the samples with a
/// seed, and libFuzzer through `ops/fuzz`, which is led by coverage and also limits memory and time.
package struct FuzzTarget: Sendable, CustomStringConvertible {
    /// What it is called in both engines.
    package let name: String
    /// Good inputs to begin with.
    package let samples: [[UInt8]]
    /// Makes checksums and lengths good again after a mutation, so that it gets behind them.
    package let repair: @Sendable ([UInt8]) -> [UInt8]
    /// Decodes; a CASError is a refusal, anything else that it throws is a bug.
    private let check: @Sendable ([UInt8]) throws -> Void

    /// A target from its parts.
    package init(
        _ name: String, _ samples: [[UInt8]],
        repair: @escaping @Sendable ([UInt8]) -> [UInt8] = { $0 },
        check: @escaping @Sendable ([UInt8]) throws -> Void
    ) {
        self.name = name
        self.samples = samples
        self.repair = repair
        self.check = check
    }

    /// Whether the decoder took the bytes; throws what is a bug.
    package func accepts(_ bytes: [UInt8]) throws -> Bool {
        do {
            try check(bytes)
            return true
        } catch is CASError {
            return false
        }
    }

    package var description: String { name }
}

/// What a decoder did wrong.
package struct FuzzFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// Throws a `FuzzFailure` unless a condition holds.
package func require(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    if !condition { throw FuzzFailure(what()) }
}

extension FuzzTarget {
    /// A format with one encoding for each value: what decodes is encoded to the same bytes.
    package static func canonical<Value: Sendable>(
        _ name: String, _ samples: [[UInt8]],
        repair: @escaping @Sendable ([UInt8]) -> [UInt8] = { $0 },
        decode: @escaping @Sendable ([UInt8]) throws -> Value,
        encode: @escaping @Sendable (Value) -> [UInt8]
    ) -> FuzzTarget {
        FuzzTarget(name, samples, repair: repair) { bytes in
            let value = try decode(bytes)
            try require(encode(value) == bytes, "the value is encoded to other bytes: \(value)")
        }
    }

    /// A format with several encodings: what decodes is encoded to bytes that decode to the same.
    package static func stable<Value: Equatable & Sendable>(
        _ name: String, _ samples: [[UInt8]],
        repair: @escaping @Sendable ([UInt8]) -> [UInt8] = { $0 },
        decode: @escaping @Sendable ([UInt8]) throws -> Value,
        encode: @escaping @Sendable (Value) -> [UInt8]
    ) -> FuzzTarget {
        FuzzTarget(name, samples, repair: repair) { bytes in
            let value = try decode(bytes)
            let encoded = encode(value)
            let again: Value
            do {
                again = try decode(encoded)
            } catch {
                throw FuzzFailure("what was decoded is encoded to what is refused: \(error)")
            }
            try require(again == value, "\(value) came back as \(again)")
            try require(encode(again) == encoded, "two encodings of \(value)")
        }
    }

    /// A text with a parser.
    package static func text<Value: Equatable & Sendable>(
        _ name: String, _ samples: [String], parse: @escaping @Sendable (String) throws -> Value,
        print: @escaping @Sendable (Value) -> String
    ) -> FuzzTarget {
        stable(
            name, samples.map { Array($0.utf8) },
            decode: { try parse(String(decoding: $0, as: UTF8.self)) },
            encode: { Array(print($0).utf8) })
    }
}

/// All targets that need no IO: what `ops/fuzz` builds.
package enum FuzzTargets {
    /// The table.
    package static let foundations: [FuzzTarget] =
        core + chunking + frames + trees + packs + images + messages + exports

    static let digest = Digest.of(Array("sample".utf8))
    static let other = Digest.of(Array("other".utf8))
    static let identifier = Identifier(high: 0x0102_0304_0506_0708, low: 0x090a_0b0c_0d0e_0f10)
    static let time = Timestamp(seconds: 1_700_000_000, nanoseconds: 5)

    /// Limits small enough to be met by an input of a few thousand bytes.
    static let limits: Limits = {
        var limits = Limits.standard
        limits.recordRawBytes = 1 << 16
        limits.recordStoredBytes = 1 << 16
        limits.directoryBytes = 1 << 16
        limits.directoryEntries = 64
        return limits
    }()
}
