import CASCore

/// Turns a text into one with other values, by insertions and by scalars that are replaced in place.
///
/// The new value has all that the old one has, in the same order; new members may stand anywhere before the last
/// one, new items at the head of a list. What else could have changed is found by reading the result again.
struct ManifestEditor {
    /// One change of the text.
    struct Edit: Hashable {
        var range: Range<Int>
        var text: String
    }

    private let text: ManifestText
    /// Whether whole lines go above the comment that stands over the line they are inserted at.
    private let aboveComments: Bool
    private var edits: [Edit] = []
    private var known: Set<Edit> = []
    private var indented = true
    private var unit = "  "

    init(_ text: ManifestText, aboveComments: Bool) {
        self.text = text
        self.aboveComments = aboveComments
    }

    /// Adds what turns a document into another value.
    mutating func change(_ document: LocatedValue, to value: ManifestValue) throws {
        indented = indentsLists(document) ?? true
        unit = "  "
        if case .object(let members) = document.content, let first = members.first {
            let prefix = text.prefix(first.offset)
            if isFlow(document), isBlank(prefix), !prefix.isEmpty {
                unit = String(decoding: prefix, as: UTF8.self)
            }
            try change(document, to: value, quoted: first.quoted)
        }
    }

    /// The bytes with all changes.
    func result() -> [UInt8] {
        // Stable: what goes to one place stays in the order in which it was added.
        let sorted = edits.enumerated().sorted {
            ($0.element.range.lowerBound, $0.offset) < ($1.element.range.lowerBound, $1.offset)
        }
        var result: [UInt8] = []
        var position = 0
        for (_, edit) in sorted where edit.range.lowerBound >= position {
            result += text.bytes[position..<edit.range.lowerBound]
            result += edit.text.utf8
            position = edit.range.upperBound
        }
        return result + text.bytes[position...]
    }

    // MARK: - Comparing

    private mutating func change(
        _ old: LocatedValue, to new: ManifestValue, quoted: Bool
    ) throws {
        switch (old.content, new) {
        case (.object(let members), .object(let wanted)):
            try changeObject(old, members, wanted, quoted: quoted)
        case (.list(let items), .list(let wanted)):
            let added = wanted.count - items.count
            guard added >= 0 else { throw refusal(old.offset) }
            if added > 0 {
                try insertItems(old, items.first, Array(wanted[..<added]), quoted: quoted)
            }
            for (item, value) in zip(items, wanted[added...]) {
                try change(item, to: value, quoted: quoted)
            }
        case (.scalar(let value, let written), _) where value != new:
            guard case .text(let replacement) = new else { throw refusal(old.offset) }
            try replace(old, written, with: replacement)
        case (.scalar, _): break
        default: throw refusal(old.offset)
        }
    }

    private mutating func changeObject(
        _ object: LocatedValue, _ members: [LocatedValue.Member],
        _ wanted: [ManifestValue.Member], quoted: Bool
    ) throws {
        var rest = members[...]
        var added: [ManifestValue.Member] = []
        for member in wanted {
            guard let next = rest.first, next.key == member.key else {
                added.append(member)
                continue
            }
            rest.removeFirst()
            if !added.isEmpty { try insertMembers(object, added, before: next) }
            added = []
            if case .scalar(.null, let written) = next.value.content, member.value != .null {
                try fill(next, written, with: member.value, inFlow: isFlow(object))
            } else {
                try change(next.value, to: member.value, quoted: next.quoted)
            }
        }
        guard rest.isEmpty else { throw refusal(object.offset) }
        if !added.isEmpty {
            guard members.isEmpty, isFlow(object) else { throw refusal(object.offset) }
            let inner = added.map { pair($0, quoted: quoted) }.joined(separator: ", ")
            insert(inner, at: text.contentStart(object.offset) + 1)
        }
    }

    // MARK: - Inserting

    private mutating func insertMembers(
        _ object: LocatedValue, _ added: [ManifestValue.Member], before next: LocatedValue.Member
    ) throws {
        if isFlow(object) {
            let pretty = isBlank(text.prefix(next.offset))
            let parts = added.map { member in
                pretty
                    ? ManifestFragment.scalar(member.key, quoted: next.quoted) + ": "
                        + prettyText(member.value, quoted: next.quoted, at: next.offset)
                    : pair(member, quoted: next.quoted)
            }
            insertFlow(parts, before: next.offset, ownLine: pretty)
        } else {
            let lines = added.flatMap {
                ManifestFragment.member(key: $0.key, $0.value, indented: indented)
            }
            try insertLines(lines, before: next.offset)
        }
    }

    private mutating func insertItems(
        _ list: LocatedValue, _ first: LocatedValue?, _ added: [ManifestValue], quoted: Bool
    ) throws {
        let start = text.contentStart(list.offset)
        guard isFlow(list) else {
            guard text[start] == UInt8(ascii: "-") else { throw refusal(list.offset) }
            let lines = added.flatMap { ManifestFragment.item($0, indented: indented) }
            return try insertLines(lines, before: start)
        }
        guard let first else {
            let inner = added.map { ManifestFragment.flow($0, quoted: quoted) }
            return insert(inner.joined(separator: ", "), at: start + 1)
        }
        // An alias has its place elsewhere; then the item goes right behind the bracket.
        let place = first.offset > start && !isAlias(start + 1) ? first.offset : start + 1
        let pretty = isBlank(text.prefix(place))
        let parts = added.map {
            pretty
                ? prettyText($0, quoted: quoted, at: place)
                : ManifestFragment.flow($0, quoted: quoted)
        }
        insertFlow(parts, before: place, ownLine: pretty)
    }

    private mutating func insertFlow(_ parts: [String], before offset: Int, ownLine: Bool) {
        let separator =
            ownLine
            ? "," + text.newline(offset) + String(decoding: text.prefix(offset), as: UTF8.self)
            : ", "
        insert(parts.map { $0 + separator }.joined(), at: offset)
    }

    /// Inserts whole lines before the one with a key or a dash, at its column.
    private mutating func insertLines(_ lines: [String], before offset: Int) throws {
        let prefix = text.prefix(offset)
        let newline = text.newline(offset)
        guard !prefix.contains(UInt8(ascii: "?")) else {
            throw CASError(
                .invalidArgument,
                "line \(text.line(at: offset)): a key that is written with '? ' is not edited",
                hint: "write it as KEY: VALUE")
        }
        if prefix.allSatisfy({ $0 == 0x20 }) {
            let indent = String(decoding: prefix, as: UTF8.self)
            let place = aboveComments ? aboveComment(offset) : text.lineStart(offset)
            insert(lines.map { indent + $0 + newline }.joined(), at: place)
        } else {
            // Behind a dash: the new lines begin there, and what stood there goes on below them.
            let indent = String(repeating: " ", count: text.column(offset))
            insert(lines.joined(separator: newline + indent) + newline + indent, at: offset)
        }
    }

    /// The start of the comment lines right over a line, as far as they have its column.
    private func aboveComment(_ offset: Int) -> Int {
        let column = text.prefix(offset).count
        var start = text.lineStart(offset)
        while start > 0 {
            let above = text.lineStart(start - 1)
            let line = text.bytes[above..<start]
            guard line.prefix(column).allSatisfy({ $0 == 0x20 }),
                line.dropFirst(column).first == UInt8(ascii: "#")
            else { break }
            start = above
        }
        return start
    }

    /// Gives a key without a value one.
    private mutating func fill(
        _ member: LocatedValue.Member, _ written: String, with value: ManifestValue, inFlow: Bool
    ) throws {
        let offset = member.value.offset
        if !written.isEmpty {
            guard text.bytes[offset...].starts(with: written.utf8) else { throw refusal(offset) }
            let flow = ManifestFragment.flow(value, quoted: member.quoted)
            return add(Edit(range: offset..<offset + written.utf8.count, text: flow))
        }
        guard offset > member.offset, text[offset - 1] == UInt8(ascii: ":") else {
            throw refusal(member.offset)
        }
        if inFlow {
            return insert(" " + ManifestFragment.flow(value, quoted: member.quoted), at: offset)
        }
        let isList = value.items != nil
        let indent = String(
            repeating: " ",
            count: text.column(member.offset) + (isList && !indented ? 0 : 2))
        let newline = text.newline(offset)
        let lines = ManifestFragment.block(value, indented: indented)
        insert(lines.map { newline + indent + $0 }.joined(), at: text.lineEnd(offset))
    }

    // MARK: - Replacing

    private mutating func replace(
        _ old: LocatedValue, _ written: String, with new: String
    ) throws {
        let start = text.contentStart(old.offset)
        switch text[start] {
        case UInt8(ascii: "\""):
            add(Edit(range: try quoted(start), text: ManifestFragment.escape(new)))
        case UInt8(ascii: "'"):
            guard new.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value < 0x7f }) else {
                throw refusal(start)
            }
            let parts = new.split(separator: "'", omittingEmptySubsequences: false)
            add(Edit(range: try quoted(start), text: parts.joined(separator: "''")))
        case UInt8(ascii: "|"), UInt8(ascii: ">"):
            let body = Array(written.utf8.reversed().drop { $0 == 0x0a }.reversed())
            let header = text.lineEnd(start)
            guard let place = text.find(body, from: header),
                text.line(at: place) == text.line(at: header) + 1, !new.contains("\n")
            else { throw refusal(start) }
            add(Edit(range: place..<place + body.count, text: new))
        default:
            guard !written.isEmpty, text.bytes[start...].starts(with: written.utf8) else {
                throw refusal(start)
            }
            let plain = ManifestYAML.isPlain(new)
            add(
                Edit(
                    range: start..<start + written.utf8.count,
                    text: plain ? new : "\"" + ManifestFragment.escape(new) + "\""))
        }
    }

    /// What stands between the quotes that begin at a place.
    private func quoted(_ start: Int) throws -> Range<Int> {
        let quote = text[start]
        var index = start + 1
        while let byte = text[index] {
            if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                index += 2
            } else if byte == quote, quote == UInt8(ascii: "'"), text[index + 1] == quote {
                index += 2
            } else if byte == quote {
                return start + 1..<index
            } else {
                index += 1
            }
        }
        throw refusal(start)
    }

    // MARK: - Small things

    private mutating func insert(_ inserted: String, at offset: Int) {
        add(Edit(range: offset..<offset, text: inserted))
    }

    /// The same edit comes again where an alias leads to the same place; it is made once.
    private mutating func add(_ edit: Edit) {
        if known.insert(edit).inserted { edits.append(edit) }
    }

    private func isFlow(_ value: LocatedValue) -> Bool {
        let byte = text[text.contentStart(value.offset)]
        return byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[")
    }

    private func isAlias(_ offset: Int) -> Bool {
        var index = offset
        while text[index] == 0x20 { index += 1 }
        return text[index] == UInt8(ascii: "*")
    }

    private func isBlank(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.allSatisfy { $0 == 0x20 || $0 == 0x09 }
    }

    private func pair(_ member: ManifestValue.Member, quoted: Bool) -> String {
        ManifestFragment.scalar(member.key, quoted: quoted) + ": "
            + ManifestFragment.flow(member.value, quoted: quoted)
    }

    private func prettyText(_ value: ManifestValue, quoted: Bool, at offset: Int) -> String {
        ManifestFragment.pretty(
            value, quoted: quoted, indent: String(decoding: text.prefix(offset), as: UTF8.self),
            unit: unit, newline: text.newline(offset))
    }

    /// Whether lists stand right of their key in a document; nil where it has none in block style.
    private func indentsLists(_ value: LocatedValue) -> Bool? {
        switch value.content {
        case .scalar: return nil
        case .list(let items):
            for item in items { if let found = indentsLists(item) { return found } }
            return nil
        case .object(let members):
            for member in members {
                let start = text.contentStart(member.value.offset)
                if case .list = member.value.content, start > member.offset,
                    text[start] == UInt8(ascii: "-")
                {
                    return text.column(start) > text.column(member.offset)
                }
                if let found = indentsLists(member.value) { return found }
            }
            return nil
        }
    }

    private func refusal(_ offset: Int) -> CASError {
        CASError(
            .unimplemented,
            "line \(text.line(at: offset)): the text can not be edited in the form that it has here",
            hint: "write this part in plain block style, or edit it by hand")
    }
}
