import CASCore
import Yams

/// Manifests as YAML text, by Yams (libyaml).
package enum ManifestYAML {
    /// Values that one text may hold at most, aliases counted each time they are used: a dozen lines of anchors
    /// name more than there is memory.
    private static let maximumValues = 200_000
    private static let maximumDepth = 100

    /// Writes documents, one after the other, in block style; what a reader of YAML 1.1 or 1.2 could take for
    /// something else than text is quoted.
    package static func write(_ documents: [ManifestValue]) throws -> String {
        do {
            return try documents.map { document in
                try Yams.serialize(node: node(document), width: -1, allowUnicode: true)
            }.joined(separator: "---\n")
        } catch {
            throw CASError(.internalError, "the manifest can not be written", cause: error)
        }
    }

    /// Reads all documents; empty ones are left out.
    package static func parse(_ text: String) throws -> [ManifestValue] {
        var count = 0
        do {
            // Not compose_all: its sequence ends at an error as if the text did.
            let parser = try parser(text)
            var documents: [ManifestValue] = []
            while let node = try parser.nextRoot() {
                let value = try value(of: node, depth: 0, &count)
                if value != .null { documents.append(value) }
            }
            return documents
        } catch let error as YamlError {
            throw error.manifestError
        }
    }

    /// A parser that leaves it to `scalarValue` what a scalar is: to ask Yams's rules for each costs ten times as
    /// much as the parser.
    static func parser(_ text: String) throws -> Parser {
        try Parser(yaml: text, resolver: .basic, encoding: .utf8)
    }

    private static func node(_ value: ManifestValue) -> Node {
        switch value {
        case .null: Node("null", Tag(.null), .plain)
        case .boolean(let flag): Node(flag ? "true" : "false", Tag(.bool), .plain)
        case .integer(let number): Node(String(number), Tag(.int), .plain)
        case .decimal(let text): Node(text, Tag(.float), .plain)
        case .text(let text): Node(text, Tag(.str), style(text))
        case .list(let items):
            Node(items.map(node), .implicit, items.isEmpty ? .flow : .block)
        case .object(let members):
            Node(
                members.map { (Node($0.key, Tag(.str), style($0.key)), node($0.value)) }, .implicit,
                members.isEmpty ? .flow : .block)
        }
    }

    private static func style(_ text: String) -> Node.Scalar.Style {
        if text.contains("\n"), !text.contains("\r") { return .literal }
        return isPlain(text) ? .plain : .doubleQuoted
    }

    /// Whether a text stays text without quotes for every reader: it begins with a letter, `/`, `.` or `_` and
    /// goes on with what has no meaning, and is none of the words of YAML 1.1 (yaml.org/type/bool.html).
    static func isPlain(_ text: String) -> Bool {
        guard let first = text.utf8.first, isLetter(first) || first == UInt8(ascii: "/") else {
            return false
        }
        let words: Set = [
            "y", "n", "yes", "no", "true", "false", "on", "off", "null", "nan", "inf",
        ]
        guard !words.contains(text.lowercased()) else { return false }
        return text.utf8.allSatisfy { byte in
            isLetter(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || "/._-@+".utf8.contains(byte)
        } || isReference(text)
    }

    /// A URL, or `name@sha256:…`: a colon that no space follows.
    private static func isReference(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"#{}[],&*!|>'\"%`\\".utf8.contains($0) }
            && !text.hasSuffix(":")
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }

    private static func value(of node: Node, depth: Int, _ count: inout Int) throws -> ManifestValue
    {
        count += 1
        guard count <= maximumValues, depth <= maximumDepth else {
            throw CASError(.resourceExhausted, "the manifest is nested too deep, or too large")
        }
        switch node {
        case .scalar(let scalar): return scalarValue(scalar, node)
        case .sequence(let sequence):
            return .list(try sequence.map { try value(of: $0, depth: depth + 1, &count) })
        case .mapping(let mapping):
            return .object(
                try mapping.map { key, member in
                    guard case .scalar(let name) = key else {
                        throw CASError(.invalidArgument, "a key of the manifest is no plain text")
                    }
                    return ManifestValue.Member(
                        name.string, try value(of: member, depth: depth + 1, &count))
                })
        case .alias: throw CASError(.invalidArgument, "an alias of the manifest names nothing")
        }
    }

    static func scalarValue(_ scalar: Node.Scalar, _ node: Node) -> ManifestValue {
        if isText(scalar) { return .text(scalar.string) }
        switch Resolver.default.resolveTag(of: node) {
        case .null: return .null
        case .bool: return .boolean(node.bool ?? false)
        case .int:
            if let number = Int64(scalar.string) { return .integer(number) }
            return node.int.map { .integer(Int64($0)) } ?? .text(scalar.string)
        case .float: return .decimal(scalar.string)
        default: return .text(scalar.string)
        }
    }

    /// Whether a scalar without a tag is text for sure: it is quoted, or begins as no other value does.
    private static func isText(_ scalar: Node.Scalar) -> Bool {
        guard scalar.tag.description.isEmpty else { return false }
        guard scalar.style == .plain else { return true }
        guard let first = scalar.string.utf8.first else { return false }
        return !"yYnNtTfFoO~.+-=<0123456789".utf8.contains(first)
    }
}
