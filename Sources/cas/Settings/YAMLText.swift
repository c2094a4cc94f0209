import CASCore
import Yams

/// A parsed YAML document: the only file that knows the YAML library, which brings Foundation.
indirect enum YAMLText: Sendable {
    case scalar(String)
    case sequence([YAMLText])
    case mapping([Entry])

    /// One key of a mapping.
    struct Entry: Sendable {
        let key: String
        let value: YAMLText
        let line: Int
    }

    /// Nested further than any settings file of ours.
    private static let maximumDepth = 32

    /// Parses a settings file; an empty one is an empty mapping.
    static func parse(_ bytes: [UInt8], path: String) throws -> YAMLText {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CASError(.invalidArgument, "the file is not UTF-8 text", path: path)
        }
        try refuseAnchors(bytes, path)
        do {
            guard let node = try Yams.compose(yaml: text) else { return .mapping([]) }
            return try convert(node, depth: 0)
        } catch let error as YamlError {
            throw CASError(.invalidArgument, "\(path) is not valid YAML: \(oneLine(error))")
        }
    }

    /// Refuses anchors, and so all aliases: a dozen lines of them name more values than there is memory, and
    /// a project file may come with somebody else's repository.
    ///
    /// What looks like one in a quoted text is refused too; no setting of ours needs it.
    private static func refuseAnchors(_ bytes: [UInt8], _ path: String) throws {
        for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "&") {
            let before = index > 0 ? bytes[index - 1] : UInt8(ascii: " ")
            let after = index + 1 < bytes.count ? bytes[index + 1] : UInt8(ascii: " ")
            let isWithinText =
                (before > UInt8(ascii: " ") && before < 0x7f
                    && !"[]{},:?-!|>".utf8.contains(before))
                || after <= UInt8(ascii: " ")
            guard isWithinText else {
                let line = bytes[..<index].count { $0 == UInt8(ascii: "\n") } + 1
                throw CASError(
                    .invalidArgument, "\(path):\(line): anchors (&) are not supported here",
                    hint: "write the value out where it is needed")
            }
        }
    }

    private static func oneLine(_ error: YamlError) -> String {
        "\(error)".split(separator: "\n").joined(separator: " ")
    }

    private static func convert(_ node: Node, depth: Int) throws -> YAMLText {
        guard depth < maximumDepth else {
            throw CASError(.invalidArgument, "the settings file is nested too deep")
        }
        switch node {
        case .scalar(let scalar): return .scalar(scalar.string)
        case .sequence(let sequence):
            return .sequence(try sequence.map { try convert($0, depth: depth + 1) })
        case .mapping(let mapping):
            return .mapping(
                try mapping.map { key, value in
                    guard case .scalar(let name) = key else {
                        throw CASError(.invalidArgument, "a key is not plain text")
                    }
                    return Entry(
                        key: name.string, value: try convert(value, depth: depth + 1),
                        line: key.mark?.line ?? 0)
                })
        case .alias: throw CASError(.invalidArgument, "aliases are not supported here")
        }
    }
}
