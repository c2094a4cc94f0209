/// A pattern of names or tags: `*` stands for any text within a component, `**` for any text, all else
/// for itself.
///
/// Matching takes time in proportion to both lengths, whatever the pattern is.
package struct GlobPattern: Hashable, Sendable, CustomStringConvertible {
    private enum Token: Hashable {
        case byte(UInt8)
        case anyInComponent
        case anything
    }

    /// The pattern as it was written.
    package let description: String
    private let tokens: [Token]

    /// Checks a pattern of names, such as `team/*/ci` or `team/**`; throws `invalidArgument`.
    package init(names text: String) throws {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard !text.isEmpty, text.utf8.count <= RefName.maximumNameBytes,
            parts.allSatisfy({ part in !part.isEmpty && part.utf8.allSatisfy(Self.isOfName) }),
            !text.contains("***")
        else {
            throw CASError(
                .invalidArgument, "'\(text)' is not a pattern of names",
                hint: "write a name with '*' for any text within a component and '**' for any "
                    + "text: team/*, team/**, **/ci")
        }
        self.init(unchecked: text)
    }

    /// Checks a pattern of tags, such as `v*`; throws `invalidArgument`.
    package init(tags text: String) throws {
        guard !text.isEmpty, text.utf8.count <= RefName.maximumTagBytes,
            text.utf8.allSatisfy(Self.isOfTag), !text.contains("***")
        else {
            throw CASError(
                .invalidArgument, "'\(text)' is not a pattern of tags",
                hint: "write a tag with '*' for any text: v*, release-*, stable")
        }
        self.init(unchecked: text)
    }

    private init(unchecked text: String) {
        description = text
        var tokens: [Token] = []
        for byte in text.utf8 {
            if byte != UInt8(ascii: "*") {
                tokens.append(.byte(byte))
            } else if tokens.last == .anyInComponent {
                tokens[tokens.count - 1] = .anything
            } else {
                tokens.append(.anyInComponent)
            }
        }
        self.tokens = tokens
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "*"):
            true
        default: false
        }
    }

    private static func isOfTag(_ byte: UInt8) -> Bool {
        isOfName(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }

    /// How every text that matches begins.
    package var literalPrefix: String {
        String(description.prefix { $0 != "*" })
    }

    /// Whether a text is one that the pattern stands for.
    package func matches(_ text: String) -> Bool {
        // The set of places in the pattern that what was read so far can have led to.
        var places = [Bool](repeating: false, count: tokens.count + 1)
        places[0] = true
        skipStars(&places)
        for byte in text.utf8 {
            var next = [Bool](repeating: false, count: tokens.count + 1)
            var isAlive = false
            for (index, token) in tokens.enumerated() where places[index] {
                switch token {
                case .byte(let wanted) where wanted == byte: next[index + 1] = true
                case .byte: continue
                case .anyInComponent where byte == UInt8(ascii: "/"): continue
                case .anyInComponent, .anything: next[index] = true
                }
                isAlive = true
            }
            guard isAlive else { return false }
            places = next
            skipStars(&places)
        }
        return places[tokens.count]
    }

    /// A star may stand for no text at all.
    private func skipStars(_ places: inout [Bool]) {
        for (index, token) in tokens.enumerated() where places[index] {
            if case .byte = token { continue }
            places[index + 1] = true
        }
    }
}
