package import CASCore

/// What a store keeps of the refs whose names match a pattern (Protocol.md, "Rules and pins").
package struct RetentionRule: WireMessage {
    /// Patterns of tags of one sort that a rule may have at most.
    package static let maximumGlobs = 100

    /// Which names it is about: `*` stands for any text within a component, `**` for any text.
    package var pattern: String
    /// Tags of each name that stay, those that moved last; zero for no such number.
    package var keep: UInt64
    /// Seconds since its last move during which a tag stays; zero for no such time.
    package var keepSeconds: UInt64
    /// Patterns of tags that stay whatever these two say.
    package var keepTags: [String]
    /// Patterns of tags that are created once, and neither moved nor removed.
    package var onceTags: [String]
    /// Seconds for which what a ref named before stays; nil for the usual time.
    package var historySeconds: UInt64?
    /// Bytes that all refs of the pattern may have together; nil for no limit.
    package var quota: UInt64?
    /// Whether refs used least recently make room beyond the quota, and no push is refused.
    package var isCache: Bool
    /// Seconds since its last use during which a cache does not lose a ref; nil for the usual time.
    package var windowSeconds: UInt64?
    /// Who set it, when and from where.
    package var provenance: Provenance
    /// When it was set, by the store's clock.
    package var created: Timestamp

    /// A rule that says nothing yet about the names of a pattern.
    package init(
        pattern: String, provenance: Provenance = Provenance(),
        created: Timestamp = Timestamp(seconds: 0)
    ) {
        self.pattern = pattern
        keep = 0
        keepSeconds = 0
        keepTags = []
        onceTags = []
        historySeconds = nil
        quota = nil
        isCache = false
        windowSeconds = nil
        self.provenance = provenance
        self.created = created
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: pattern)
        output.append(field: 2, varint: keep)
        output.append(field: 3, varint: keepSeconds)
        for glob in keepTags { output.append(element: 4, bytes: glob.utf8) }
        for glob in onceTags { output.append(element: 5, bytes: glob.utf8) }
        output.append(field: 6, optional: historySeconds)
        output.append(field: 7, optional: quota)
        output.append(field: 8, flag: isCache)
        output.append(field: 9, optional: windowSeconds)
        output.append(field: 10, message: provenance)
        output.append(field: 11, time: created)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(pattern: "")
        try readFields(bytes, upTo: 11) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): pattern = try reader.string()
            case (2, .varint): keep = try reader.varint()
            case (3, .varint): keepSeconds = try reader.varint()
            case (4, .lengthDelimited):
                try RetentionRule.append(try reader.string(), to: &keepTags)
            case (5, .lengthDelimited):
                try RetentionRule.append(try reader.string(), to: &onceTags)
            case (6, .varint): historySeconds = try reader.varint()
            case (7, .varint): quota = try reader.varint()
            case (8, .varint): isCache = try reader.varint() != 0
            case (9, .varint): windowSeconds = try reader.varint()
            case (10, .lengthDelimited):
                provenance = try Provenance(decoding: try reader.bytes(), limits: limits)
            case (11, .lengthDelimited): created = try reader.timestamp()
            // A rule that is understood in part would remove what the other part keeps.
            default: throw WireFailure.malformed("a rule")
            }
            return true
        }
        guard !pattern.isEmpty else { throw WireFailure.lacks("a pattern") }
    }

    private static func append(_ glob: String, to globs: inout [String]) throws {
        guard globs.count < maximumGlobs else { throw WireFailure.tooMany("patterns of tags") }
        globs.append(glob)
    }
}

extension [UInt8] {
    /// Adds an integer field that is there though it is zero; nothing for nil.
    fileprivate mutating func append(field number: UInt32, optional value: UInt64?) {
        guard let value else { return }
        append(varint: UInt64(number) << 3)
        append(varint: value)
    }
}

/// All rules of a store.
package typealias RulePage = WirePage<RetentionRule>
