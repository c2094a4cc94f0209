/// A value of a Kubernetes manifest: what YAML and JSON have in common, with members in the order in which they
/// are written.
package indirect enum ManifestValue: Hashable, Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    /// A number with a fraction or an exponent, as it was written.
    case decimal(String)
    case text(String)
    case list([ManifestValue])
    case object([Member])

    /// One member of an object.
    package struct Member: Hashable, Sendable {
        package var key: String
        package var value: ManifestValue

        package init(_ key: String, _ value: ManifestValue) {
            self.key = key
            self.value = value
        }
    }

    /// The value of a member; nil where this is no object or has no such member.
    ///
    /// Setting nil removes the member; a new one is added at the end, and null or nothing turns into an object.
    package subscript(key: String) -> ManifestValue? {
        get {
            guard case .object(let members) = self else { return nil }
            return members.first { $0.key == key }?.value
        }
        set {
            var members: [Member] = []
            if case .object(let present) = self { members = present }
            if let index = members.firstIndex(where: { $0.key == key }) {
                if let newValue {
                    members[index].value = newValue
                } else {
                    members.remove(at: index)
                }
            } else if let newValue {
                members.append(Member(key, newValue))
            }
            self = .object(members)
        }
    }

    /// The value at the end of a path of members.
    package func at(_ path: String...) -> ManifestValue? {
        path.reduce(self) { $0?[$1] }
    }

    /// The text; nil for anything else.
    package var text: String? {
        if case .text(let text) = self { text } else { nil }
    }

    /// The items; nil for anything else.
    package var items: [ManifestValue]? {
        if case .list(let items) = self { items } else { nil }
    }

    /// The members; nil for anything else.
    package var members: [Member]? {
        if case .object(let members) = self { members } else { nil }
    }

    /// The item of a list that bears this name (`name: …`), as the strategic merge patch finds it.
    package func item(named name: String) -> ManifestValue? {
        items?.first { $0["name"]?.text == name }
    }
}

extension ManifestValue: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral,
    ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral
{
    package init(dictionaryLiteral elements: (String, ManifestValue)...) {
        self = .object(elements.map { Member($0, $1) })
    }

    package init(arrayLiteral elements: ManifestValue...) { self = .list(elements) }
    package init(stringLiteral value: String) { self = .text(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .boolean(value) }
}
