import CASCore
import Yams

/// A value of a manifest and where its text begins.
struct LocatedValue {
    /// What the value is.
    enum Content {
        case scalar(ManifestValue, text: String)
        case list([LocatedValue])
        case object([Member])
    }

    /// One member of an object.
    struct Member {
        var key: String
        /// Where the key begins.
        var offset: Int
        /// Whether the key stands in double quotes, as in JSON.
        var quoted: Bool
        var value: LocatedValue
    }

    /// The offset of its first byte, that of its anchor or tag if it has one; where an alias stands for it, that
    /// of what the alias names.
    var offset: Int
    var content: Content

    /// The value alone.
    var value: ManifestValue {
        switch content {
        case .scalar(let value, _): value
        case .list(let items): .list(items.map(\.value))
        case .object(let members): .object(members.map { .init($0.key, $0.value.value) })
        }
    }

    /// The deepest value on a path that is there.
    func nearest(_ path: ManifestPath) -> LocatedValue {
        guard let step = path.first else { return self }
        switch (content, step) {
        case (.list(let items), .index(let index)) where index < items.count:
            return items[index].nearest(path.dropFirst())
        case (.object(let members), .key(let key)):
            guard let member = members.first(where: { $0.key == key }) else { return self }
            // An empty value has no place of its own that a person would look for.
            if case .scalar(.null, _) = member.value.content { return member.asKey }
            return path.count == 1 && !member.value.isScalar
                ? member.asKey : member.value.nearest(path.dropFirst())
        default: return self
        }
    }

    private var isScalar: Bool { if case .scalar = content { true } else { false } }
}

extension LocatedValue.Member {
    /// The key as a value: what errors point to.
    fileprivate var asKey: LocatedValue {
        LocatedValue(offset: offset, content: .scalar(.text(key), text: key))
    }
}

/// The way from a document to a value in it.
typealias ManifestPath = ArraySlice<ManifestStep>

/// One step of a path.
enum ManifestStep: Hashable {
    case key(String)
    case index(Int)
}

/// The documents of a text with the place of each value.
struct LocatedManifest {
    /// Values that one text may hold at most, aliases counted each time they are used.
    private static let maximumValues = 1_000_000
    /// Documents that one text may hold at most.
    private static let maximumDocuments = 10_000
    private static let maximumDepth = 100

    /// One value for each document, the empty ones too.
    let documents: [LocatedValue]
    let text: ManifestText

    /// Reads all documents of a text.
    init(_ text: ManifestText) throws {
        self.text = text
        var count = 0
        do {
            var documents: [LocatedValue] = []
            let parser = try ManifestYAML.parser(String(decoding: text.bytes, as: UTF8.self))
            while let node = try parser.nextRoot() {
                documents.append(try Self.locate(node, text, depth: 0, &count))
                guard documents.count <= Self.maximumDocuments else {
                    throw CASError(
                        .resourceExhausted,
                        "the manifest has more than \(Self.maximumDocuments) documents")
                }
            }
            self.documents = documents
        } catch let error as YamlError {
            throw error.manifestError
        }
    }

    private static func locate(
        _ node: Node, _ text: ManifestText, depth: Int, _ count: inout Int
    ) throws -> LocatedValue {
        count += 1
        guard count <= maximumValues, depth <= maximumDepth else {
            throw CASError(.resourceExhausted, "the manifest is nested too deep, or too large")
        }
        let offset = text.offset(of: node.mark)
        switch node {
        case .scalar(let scalar):
            let value = ManifestYAML.scalarValue(scalar, node)
            return LocatedValue(offset: offset, content: .scalar(value, text: scalar.string))
        case .sequence(let sequence):
            let items = try sequence.map { try locate($0, text, depth: depth + 1, &count) }
            return LocatedValue(offset: offset, content: .list(items))
        case .mapping(let mapping):
            let members = try mapping.map { key, member in
                guard case .scalar(let name) = key else {
                    throw CASError(
                        .invalidArgument,
                        "line \(text.line(at: text.offset(of: key.mark))): a key is no plain text")
                }
                return LocatedValue.Member(
                    key: name.string, offset: text.offset(of: key.mark),
                    quoted: name.style == .doubleQuoted,
                    value: try locate(member, text, depth: depth + 1, &count))
            }
            return LocatedValue(offset: offset, content: .object(members))
        case .alias: throw CASError(.invalidArgument, "an alias of the manifest names nothing")
        }
    }
}

extension YamlError {
    /// The error in our words, with the line.
    var manifestError: CASError {
        switch self {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            CASError(
                .invalidArgument, "the manifest is not valid YAML: line \(mark.line): \(problem)")
        case .duplicatedKeysInMapping(let keys, let context):
            CASError(
                .invalidArgument,
                "line \(context.mark.line): the key '\(keys.first ?? "")' is there twice")
        case .reader(let problem, let offset, _, let yaml):
            CASError(
                .invalidArgument,
                "the manifest is not valid YAML: line "
                    + "\(yaml.prefix(offset ?? 0).count { $0.isNewline } + 1): \(problem)")
        default: CASError(.invalidArgument, "the manifest is not valid YAML", cause: self)
        }
    }
}
