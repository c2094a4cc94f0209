/// The name of a ref: `team/project:tag`, in the grammar of OCI repository names and tags
/// (distribution-spec 1.1, "Pulling manifests").
package struct RefName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The tag when none is given.
    package static let defaultTag = "latest"
    /// Bytes a name may have at most.
    package static let maximumNameBytes = 255
    /// Bytes a tag may have at most.
    package static let maximumTagBytes = 128

    /// What stands before the colon of a digest, and so not alone before that of a ref.
    static let digestAlgorithm = "sha256"

    /// What stands before the colon.
    package let name: String
    /// What stands after the colon.
    package let tag: String

    /// Checks both parts; throws `invalidArgument` with the rule that is broken.
    package init(name: String, tag: String = RefName.defaultTag) throws {
        guard RefName.isName(name) else {
            throw CASError(
                .invalidArgument, "'\(name)' is not a valid name",
                hint: "use lower-case letters and digits, parts joined by '/', '.', '_' or '-', "
                    + "at most \(RefName.maximumNameBytes) characters: team/project")
        }
        guard name != RefName.digestAlgorithm else {
            throw CASError(
                .invalidArgument, "'\(name)' is not a valid name, as digests begin with it",
                hint: "put something in front of it: team/\(name)")
        }
        guard RefName.isTag(tag) else {
            throw CASError(
                .invalidArgument, "'\(tag)' is not a valid tag",
                hint: "use letters, digits, '_', '.' and '-', not starting with '.' or '-', "
                    + "at most \(RefName.maximumTagBytes) characters")
        }
        self.name = name
        self.tag = tag
    }

    /// Parses `name` or `name:tag`.
    package init(_ text: String) throws {
        if let colon = text.lastIndex(of: ":") {
            try self.init(
                name: String(text[..<colon]), tag: String(text[text.index(after: colon)...]))
        } else {
            try self.init(name: text)
        }
    }

    /// `name:tag`.
    package var description: String { "\(name):\(tag)" }

    package static func < (left: RefName, right: RefName) -> Bool {
        (left.name, left.tag) < (right.name, right.tag)
    }

    /// Whether `text` is parts of `[a-z0-9]+` joined by `.`, `_`, `__` or dashes, and by slashes.
    package static func isName(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= maximumNameBytes else { return false }
        return text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy(isPart)
    }

    private static func isPart(_ part: Substring) -> Bool {
        var separator: [UInt8] = []
        var seen = false
        for byte in part.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                let run = String(decoding: separator, as: UTF8.self)
                guard
                    run.isEmpty || run == "." || run == "_" || run == "__"
                        || run.utf8.allSatisfy({ $0 == UInt8(ascii: "-") })
                else { return false }
                separator = []
                seen = true
            case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                guard seen else { return false }
                separator.append(byte)
            default: return false
            }
        }
        return seen && separator.isEmpty
    }

    /// Whether `text` is `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
    package static func isTag(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= maximumTagBytes else { return false }
        for (index, byte) in text.utf8.enumerated() {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                continue
            case UInt8(ascii: "."), UInt8(ascii: "-"):
                if index == 0 { return false }
            default: return false
            }
        }
        return true
    }
}

/// What somebody names when they want bytes: a ref, or a digest (with the name it came under, if any).
///
/// Grammar (DESIGN.md 11): `[cas://][HOST/]NAME[:TAG]`, `[HOST/]NAME@sha256:…`, `[HOST/]sha256:…`. A
/// first component with a dot, a colon, or `localhost` is a host.
package struct Reference: Hashable, Sendable, CustomStringConvertible {
    /// What the reference names within its store.
    package enum Target: Hashable, Sendable {
        case ref(RefName)
        case digest(Digest, name: String?)
    }

    /// The server's host and port when the reference names one.
    package var host: String?
    /// The ref or digest.
    package var target: Target

    /// A reference from its parts.
    package init(host: String? = nil, target: Target) {
        self.host = host
        self.target = target
    }

    /// Parses a reference; throws `invalidArgument`.
    package init(_ text: String) throws {
        if text.hasPrefix("/") || text.hasPrefix("./") || text.hasPrefix("../") || text == "."
            || text == ".." || text.hasPrefix("~")
        {
            throw CASError(
                .invalidArgument, "'\(text)' is a path, and a ref or digest is wanted here",
                hint: "a ref is NAME[:TAG]; cas ls lists what there is")
        }
        var rest = Substring(text)
        let hasScheme = rest.hasPrefix("cas://")
        if hasScheme { rest = rest.dropFirst(6) }
        if let slash = rest.firstIndex(of: "/") {
            let first = rest[..<slash]
            if hasScheme || Reference.isHost(first) {
                host = String(first)
                rest = rest[rest.index(after: slash)...]
            }
        }
        if hasScheme, host?.isEmpty ?? true {
            throw CASError(.invalidArgument, "'\(text)' names no host after cas://")
        }
        let algorithm = RefName.digestAlgorithm + ":"
        if let at = rest.firstIndex(of: "@") {
            let name = String(rest[..<at])
            let digestText = rest[rest.index(after: at)...]
            guard digestText.hasPrefix(algorithm),
                let digest = Digest(hexadecimal: digestText.dropFirst(algorithm.count))
            else {
                throw CASError(
                    .invalidArgument, "'\(digestText)' is not a digest",
                    hint: "a digest is sha256: and 64 lower-case hexadecimal characters")
            }
            _ = try RefName(name: name)
            target = .digest(digest, name: name)
        } else if rest.hasPrefix(algorithm) {
            guard let digest = Digest(hexadecimal: rest.dropFirst(algorithm.count)) else {
                throw CASError(
                    .invalidArgument, "'\(rest)' is not a digest",
                    hint: "a digest is sha256: and 64 lower-case hexadecimal characters")
            }
            target = .digest(digest, name: nil)
        } else {
            target = .ref(try RefName(String(rest)))
        }
    }

    /// The reference within its store, without the host.
    package var path: String {
        switch target {
        case .ref(let name): name.description
        case .digest(let digest, .some(let name)): "\(name)@\(digest)"
        case .digest(let digest, .none): digest.description
        }
    }

    /// Whether a first component is a host without `cas://` saying so.
    private static func isHost(_ text: some StringProtocol) -> Bool {
        text == "localhost" || text.contains(".") || text.contains(":")
    }

    /// The reference as it would be typed.
    package var description: String {
        guard let host else { return path }
        return Reference.isHost(host) ? "\(host)/\(path)" : "cas://\(host)/\(path)"
    }
}
