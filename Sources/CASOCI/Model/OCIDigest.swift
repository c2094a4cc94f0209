package import CASCore
import CASTree

/// A digest as OCI writes it: an algorithm, a colon and hexadecimal digits.
///
/// SHA-256 names everything inside the store; SHA-512 is accepted at the door and kept as an alias.
package enum OCIDigest: Hashable, Sendable, CustomStringConvertible {
    case sha256(Digest)
    /// Exactly 64 bytes.
    case sha512([UInt8])

    /// What it is computed with.
    package enum Algorithm: String, Sendable, CaseIterable {
        case sha256
        case sha512
    }

    /// Parses `sha256:…` or `sha512:…` in lower case; throws `invalidArgument` for a malformed one,
    /// `unimplemented` for a well-formed one of another algorithm.
    package init(_ text: some StringProtocol) throws {
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else {
            throw OCIDigest.malformed(text)
        }
        let name = String(text[..<colon])
        let encoded = text[text.utf8.index(after: colon)...]
        guard let algorithm = Algorithm(rawValue: name) else {
            guard OCIDigest.isAlgorithm(name), OCIDigest.isEncoded(encoded) else {
                throw OCIDigest.malformed(text)
            }
            throw CASError(
                .unimplemented, "digests by '\(name)' are not supported",
                hint: "use sha256, or sha512")
        }
        switch algorithm {
        case .sha256:
            guard let digest = Digest(hexadecimal: encoded) else {
                throw OCIDigest.malformed(text)
            }
            self = .sha256(digest)
        case .sha512:
            guard let bytes = Hexadecimal.decode(encoded), bytes.count == SHA512Hasher.byteCount
            else { throw OCIDigest.malformed(text) }
            self = .sha512(bytes)
        }
    }

    /// The digest of `bytes`.
    package static func of(_ bytes: [UInt8], _ algorithm: Algorithm = .sha256) -> OCIDigest {
        switch algorithm {
        case .sha256: .sha256(Digest.of(bytes))
        case .sha512: .sha512(bytes.withUnsafeBytes { SHA512Hasher.of($0) })
        }
    }

    private static func malformed(_ text: some StringProtocol) -> CASError {
        CASError(
            .invalidArgument, "'\(PathText.printable(text.utf8.prefix(200)))' is not a digest",
            hint: "a digest is sha256: and 64 lower-case hexadecimal digits")
    }

    /// `[a-z0-9]+([+._-][a-z0-9]+)*` (image-spec, "Content Descriptors", "Digests").
    private static func isAlgorithm(_ text: String) -> Bool {
        var wasSeparator = true
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                wasSeparator = false
            case UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                if wasSeparator { return false }
                wasSeparator = true
            default: return false
            }
        }
        return !wasSeparator
    }

    /// `[a-zA-Z0-9=_-]+`.
    private static func isEncoded(_ text: some StringProtocol) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "="), UInt8(ascii: "_"),
                    UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    /// What it is computed with.
    package var algorithm: Algorithm {
        switch self {
        case .sha256: .sha256
        case .sha512: .sha512
        }
    }

    /// The SHA-256, if it is one.
    package var sha256: Digest? {
        if case .sha256(let digest) = self { digest } else { nil }
    }

    /// The lower-case hexadecimal digits.
    package var hexadecimal: String {
        switch self {
        case .sha256(let digest): digest.hexadecimal
        case .sha512(let bytes): Hexadecimal.encode(bytes)
        }
    }

    /// The tag under which older clients look for what refers to this: the first 32 characters of the
    /// algorithm, a dash and the first 64 digits.
    package var referrersTag: String { "\(algorithm.rawValue)-\(hexadecimal.prefix(64))" }

    /// Whether these are the bytes that it names.
    package func names(_ bytes: [UInt8]) -> Bool { self == OCIDigest.of(bytes, algorithm) }

    /// `sha256:…` or `sha512:…`.
    package var description: String { "\(algorithm.rawValue):\(hexadecimal)" }
}
