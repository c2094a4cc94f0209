/// The SHA-256 of some bytes: 32 bytes held inline as four big-endian words.
///
/// Words instead of a byte array make equality, ordering and hashing a few instructions and need no
/// allocation; their order is the lexicographic order of the bytes.
package struct Digest: Hashable, Comparable, Sendable {
    /// Bytes in a digest.
    package static let byteCount = 32
    /// Characters in the hexadecimal form.
    package static let hexadecimalCount = 64
    /// The digest of no bytes at all.
    package static let empty = Digest(
        0xe3b0_c442_98fc_1c14, 0x9afb_f4c8_996f_b924, 0x27ae_41e4_649b_934c, 0xa495_991b_7852_b855)
    /// Thirty-two zero bytes, for fields that name nothing.
    package static let zero = Digest(0, 0, 0, 0)

    private let word0: UInt64
    private let word1: UInt64
    private let word2: UInt64
    private let word3: UInt64

    private init(_ word0: UInt64, _ word1: UInt64, _ word2: UInt64, _ word3: UInt64) {
        self.word0 = word0
        self.word1 = word1
        self.word2 = word2
        self.word3 = word3
    }

    /// Takes the first 32 bytes of `bytes`, which must hold as many.
    package init(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count >= Digest.byteCount)
        word0 = bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self).bigEndian
        word1 = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
        word2 = bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self).bigEndian
        word3 = bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self).bigEndian
    }

    /// Takes exactly 32 bytes; nil for any other count.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Digest.byteCount else { return nil }
        self = Array(bytes).withUnsafeBytes { Digest($0) }
    }

    /// Parses 64 hexadecimal characters in lower case, as REAPI and OCI write them.
    package init?(hexadecimal: some StringProtocol) {
        guard
            let digest = Array(hexadecimal.utf8).withUnsafeBytes({ Digest(hexadecimalBytes: $0) })
        else { return nil }
        self = digest
    }

    /// Parses 64 hexadecimal ASCII bytes in lower case.
    package init?(hexadecimalBytes text: UnsafeRawBufferPointer) {
        guard text.count == Digest.hexadecimalCount else { return nil }
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        for index in 0..<64 {
            let nibble: UInt64
            switch text[index] {
            case let byte where byte >= 0x30 && byte <= 0x39: nibble = UInt64(byte - 0x30)
            case let byte where byte >= 0x61 && byte <= 0x66: nibble = UInt64(byte - 0x57)
            default: return nil
            }
            switch index >> 4 {
            case 0: words.0 = words.0 << 4 | nibble
            case 1: words.1 = words.1 << 4 | nibble
            case 2: words.2 = words.2 << 4 | nibble
            default: words.3 = words.3 << 4 | nibble
            }
        }
        self.init(words.0, words.1, words.2, words.3)
    }

    /// The first 16 bytes, as two words.
    package var half: (UInt64, UInt64) { (word0, word1) }

    /// The SHA-256 of `bytes`.
    package static func of(_ bytes: UnsafeRawBufferPointer) -> Digest {
        var hasher = DigestHasher()
        hasher.update(bytes)
        return hasher.finish()
    }

    /// The SHA-256 of `bytes`.
    package static func of(_ bytes: [UInt8]) -> Digest {
        bytes.withUnsafeBytes { of($0) }
    }

    /// The four words, most significant first.
    package var words: (UInt64, UInt64, UInt64, UInt64) { (word0, word1, word2, word3) }

    /// The 32 bytes as an array.
    package var bytes: [UInt8] {
        withBytes { Array($0) }
    }

    /// Calls `body` with the 32 bytes in place.
    package func withBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        let words = (word0.bigEndian, word1.bigEndian, word2.bigEndian, word3.bigEndian)
        return try withUnsafeBytes(of: words, body)
    }

    /// The 64 lower-case hexadecimal characters.
    package var hexadecimal: String {
        withBytes { Hexadecimal.encode($0) }
    }

    /// The first 12 hexadecimal characters, for messages.
    package var short: String { String(hexadecimal.prefix(12)) }

    package static func < (left: Digest, right: Digest) -> Bool {
        if left.word0 != right.word0 { return left.word0 < right.word0 }
        if left.word1 != right.word1 { return left.word1 < right.word1 }
        if left.word2 != right.word2 { return left.word2 < right.word2 }
        return left.word3 < right.word3
    }

    package func hash(into hasher: inout Hasher) {
        // A digest is uniformly distributed already: one word is as good as four.
        hasher.combine(word0)
    }
}

extension Digest: CustomStringConvertible {
    /// `sha256:` and the hexadecimal form, as OCI writes a digest.
    package var description: String { "sha256:" + hexadecimal }
}

/// A digest and the number of bytes it names; REAPI calls the pair a digest.
package struct SizedDigest: Hashable, Sendable {
    /// The SHA-256 of the bytes.
    package var digest: Digest
    /// How many bytes there are.
    package var size: UInt64

    /// Pairs a digest with the number of bytes it names.
    package init(digest: Digest, size: UInt64) {
        self.digest = digest
        self.size = size
    }
}

/// Lower-case hexadecimal text.
package enum Hexadecimal {
    private static let digits: [UInt8] = Array("0123456789abcdef".utf8)

    /// Two characters for each byte.
    package static func encode(_ bytes: some Collection<UInt8>) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes of an even number of lower-case characters; nil for anything else.
    package static func decode(_ text: some StringProtocol) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(characters.count / 2)
        for index in stride(from: 0, to: characters.count, by: 2) {
            guard let high = value(characters[index]), let low = value(characters[index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func value(_ character: UInt8) -> UInt8? {
        switch character {
        case 0x30...0x39: character - 0x30
        case 0x61...0x66: character - 0x57
        default: nil
        }
    }
}
