/// A value of a JSON document (RFC 8259), with members in the order in which they are written and numbers
/// as they were written.
package indirect enum JSON: Hashable, Sendable {
    case null
    case boolean(Bool)
    /// A number, exactly as it was written.
    case number(String)
    case text(String)
    case list([JSON])
    case object([Member])

    /// One member of an object.
    package struct Member: Hashable, Sendable {
        /// Its name.
        package var key: String
        /// Its value.
        package var value: JSON

        /// A member from its parts.
        package init(_ key: String, _ value: JSON) {
            self.key = key
            self.value = value
        }
    }

    /// An integer.
    package static func integer(_ value: some BinaryInteger) -> JSON { .number("\(value)") }

    /// A list of texts.
    package static func texts(_ values: [String]) -> JSON { .list(values.map { .text($0) }) }

    /// An object of texts, its members by ascending bytes of their names, as Go writes a map.
    package static func map(_ values: [String: String]) -> JSON {
        .object(JSON.sorted(values.keys).map { Member($0, .text(values[$0] ?? "")) })
    }

    /// Texts by their bytes: Swift's own order goes by canonical equivalence.
    package static func sorted(_ texts: some Sequence<String>) -> [String] {
        texts.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// The value of a member; nil where this is no object, has no such member or has null for it.
    package subscript(key: String) -> JSON? {
        guard case .object(let members) = self,
            let value = members.first(where: { $0.key.utf8.elementsEqual(key.utf8) })?.value,
            value != .null
        else { return nil }
        return value
    }

    /// The text; nil for anything else.
    package var text: String? {
        if case .text(let text) = self { text } else { nil }
    }

    /// The elements of a list; nil for anything else.
    package var elements: [JSON]? {
        if case .list(let elements) = self { elements } else { nil }
    }

    /// The members of an object; nil for anything else.
    package var members: [Member]? {
        if case .object(let members) = self { members } else { nil }
    }

    /// The whole number that it is; nil for anything else, and for what 64 bits do not hold.
    package var integer: Int64? {
        if case .number(let number) = self { Int64(number) } else { nil }
    }

    /// The truth value; nil for anything else.
    package var flag: Bool? {
        if case .boolean(let flag) = self { flag } else { nil }
    }

    /// The texts of a list that holds nothing else.
    package var texts: [String]? {
        guard let elements else { return nil }
        let texts = elements.compactMap(\.text)
        return texts.count == elements.count ? texts : nil
    }

    /// The texts of an object that holds nothing else.
    package var map: [String: String]? {
        guard let members else { return nil }
        var map: [String: String] = [:]
        for member in members {
            guard let text = member.value.text else { return nil }
            map[member.key] = text
        }
        return map
    }
}
