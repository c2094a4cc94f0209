/// Writes values as pieces of text that fit where they are put.
enum ManifestFragment {
    /// The lines of a value in block style, without indentation of their own.
    ///
    /// With `indented`, the items of a list stand two columns right of their key.
    static func block(_ value: ManifestValue, indented: Bool) -> [String] {
        switch value {
        case .object(let members) where !members.isEmpty:
            return members.flatMap { member(key: $0.key, $0.value, indented: indented) }
        case .list(let items) where !items.isEmpty:
            return items.flatMap { item($0, indented: indented) }
        default: return [flow(value, quoted: false)]
        }
    }

    /// The lines of a member in block style.
    static func member(key: String, _ value: ManifestValue, indented: Bool) -> [String] {
        let name = scalar(key, quoted: false)
        switch value {
        case .object(let members) where !members.isEmpty:
            return [name + ":"] + block(value, indented: indented).map { "  " + $0 }
        case .list(let items) where !items.isEmpty:
            let lines = block(value, indented: indented)
            return [name + ":"] + (indented ? lines.map { "  " + $0 } : lines)
        default: return [name + ": " + flow(value, quoted: false)]
        }
    }

    /// The lines of an item in block style.
    static func item(_ value: ManifestValue, indented: Bool) -> [String] {
        block(value, indented: indented).enumerated().map { ($0 == 0 ? "- " : "  ") + $1 }
    }

    /// A value in flow style: JSON if quoted, else without the quotes that are not needed.
    static func flow(_ value: ManifestValue, quoted: Bool) -> String {
        switch value {
        case .null: return "null"
        case .boolean(let flag): return flag ? "true" : "false"
        case .integer(let number): return String(number)
        case .decimal(let text): return text
        case .text(let text): return scalar(text, quoted: quoted)
        case .list(let items):
            return "[" + items.map { flow($0, quoted: quoted) }.joined(separator: ", ") + "]"
        case .object(let members):
            return "{"
                + members.map {
                    scalar($0.key, quoted: quoted) + ": " + flow($0.value, quoted: quoted)
                }.joined(separator: ", ") + "}"
        }
    }

    /// A value in flow style over several lines, as programs write JSON; the first line is not indented.
    static func pretty(
        _ value: ManifestValue, quoted: Bool, indent: String, unit: String, newline: String
    ) -> String {
        let inner = indent + unit
        func enclose(_ open: String, _ parts: [String], _ close: String) -> String {
            open + newline + parts.map { inner + $0 }.joined(separator: "," + newline) + newline
                + indent + close
        }
        func below(_ value: ManifestValue) -> String {
            pretty(value, quoted: quoted, indent: inner, unit: unit, newline: newline)
        }
        switch value {
        case .list(let items) where !items.isEmpty: return enclose("[", items.map(below), "]")
        case .object(let members) where !members.isEmpty:
            return enclose(
                "{", members.map { scalar($0.key, quoted: quoted) + ": " + below($0.value) }, "}")
        default: return flow(value, quoted: quoted)
        }
    }

    /// A text as a scalar that stays text in block and in flow style.
    static func scalar(_ text: String, quoted: Bool) -> String {
        if !quoted, ManifestYAML.isPlain(text), !text.contains(":") { return text }
        return "\"" + escape(text) + "\""
    }

    /// A text between double quotes, in JSON and in YAML.
    static func escape(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{0}"..<"\u{20}", "\u{7f}"..<"\u{a0}", "\u{2028}", "\u{2029}", "\u{feff}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
