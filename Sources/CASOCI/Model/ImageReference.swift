import CASCore
import CASTree

/// An image somewhere: `[HOST/]NAME[:TAG][@DIGEST]`.
///
/// A first component with a dot, a colon, or `localhost` is a registry; all else is a name in the configured
/// store, never one in a public registry.
package struct ImageReference: Hashable, Sendable, CustomStringConvertible {
    /// The scheme that says that a first component is a registry's host.
    package static let scheme = "oci://"

    /// The registry's host and port; nil for the configured store.
    package var host: String?
    /// The repository's name.
    package var name: String
    /// The tag, if one was written.
    package var tag: String?
    /// The digest, if one was written; it decides where both are there.
    package var digest: OCIDigest?

    /// A reference from its parts.
    package init(host: String?, name: String, tag: String?, digest: OCIDigest? = nil) {
        self.host = host
        self.name = name
        self.tag = tag
        self.digest = digest
    }

    /// Parses a reference; throws `invalidArgument`.
    package init(_ text: String) throws {
        var rest = text[...]
        let hasScheme = rest.hasPrefix(ImageReference.scheme)
        if hasScheme { rest = rest.dropFirst(ImageReference.scheme.count) }
        var host: String?
        if let slash = rest.firstIndex(of: "/") {
            let first = rest[..<slash]
            if hasScheme || ImageReference.isHost(first) {
                guard ImageReference.isWellFormedHost(first) else {
                    throw ImageReference.malformed(text, "the registry's host is malformed")
                }
                host = String(first)
                rest = rest[rest.index(after: slash)...]
            }
        }
        guard !hasScheme || host != nil else {
            throw ImageReference.malformed(text, "there is no registry before the name")
        }
        var digest: OCIDigest?
        if let at = rest.firstIndex(of: "@") {
            digest = try OCIDigest(rest[rest.index(after: at)...])
            rest = rest[..<at]
        }
        var tag: String?
        if let colon = rest.lastIndex(of: ":") {
            tag = String(rest[rest.index(after: colon)...])
            rest = rest[..<colon]
        }
        let name = try RefName(name: String(rest), tag: tag ?? RefName.defaultTag).name
        self.init(host: host, name: name, tag: tag, digest: digest)
    }

    private static func malformed(_ text: String, _ why: String) -> CASError {
        CASError(
            .invalidArgument, "'\(PathText.printable(text.utf8))' is not an image: \(why)",
            hint: "an image is [HOST/]NAME[:TAG] or [HOST/]NAME@sha256:…")
    }

    private static func isHost(_ text: Substring) -> Bool {
        text == "localhost" || text.contains(".") || text.contains(":")
    }

    /// Letters, digits, dots, dashes and a port; an address of IPv6 in brackets.
    private static func isWellFormedHost(_ text: Substring) -> Bool {
        var rest = text.utf8[...]
        if rest.first == UInt8(ascii: "[") {
            guard let end = rest.firstIndex(of: UInt8(ascii: "]")) else { return false }
            let address = rest[rest.index(after: rest.startIndex)..<end]
            guard !address.isEmpty,
                address.allSatisfy({ isHexadecimal($0) || $0 == 0x3a || $0 == 0x2e })
            else { return false }
            rest = rest[rest.index(after: end)...]
        } else {
            let name = rest.prefix { $0 != UInt8(ascii: ":") }
            guard let first = name.first, first != UInt8(ascii: "."), first != UInt8(ascii: "-"),
                name.allSatisfy(isHostByte)
            else { return false }
            rest = rest[name.endIndex...]
        }
        guard !rest.isEmpty else { return true }
        guard rest.removeFirst() == UInt8(ascii: ":") else { return false }
        return UInt16(Substring(rest)) != nil && rest.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20)
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20)
            || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-")
    }

    /// What stands behind `manifests/` in a request: the digest, else the tag, else the default tag.
    package var selector: String { digest?.description ?? tag ?? RefName.defaultTag }

    /// The reference within its registry: the name with the tag, the digest or both.
    package var path: String {
        name + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
    }

    /// The reference as it would be typed.
    package var description: String {
        guard let host else { return path }
        return ImageReference.isHost(host[...])
            ? "\(host)/\(path)" : "\(ImageReference.scheme)\(host)/\(path)"
    }
}
