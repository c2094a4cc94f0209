import CASCore

/// A JSON document (RFC 8259), written by hand to keep Foundation out of the fast commands.
indirect enum JSONText: CustomStringConvertible {
    case null
    case boolean(Bool)
    case number(Int64)
    case text(String)
    case list([JSONText])
    case object([(String, JSONText)])

    /// A count.
    static func count(_ value: some BinaryInteger) -> JSONText {
        .number(Int64(clamping: value))
    }

    /// A text or null.
    static func optional(_ value: String?) -> JSONText {
        value.map { .text($0) } ?? .null
    }

    /// A digest or null.
    static func digest(_ value: Digest?) -> JSONText {
        optional(value?.description)
    }

    /// An object with one more member at its end.
    func with(_ key: String, _ value: JSONText) -> JSONText {
        guard case .object(let members) = self else { return self }
        return .object(members + [(key, value)])
    }

    /// The document with two spaces for each level.
    var description: String {
        var output = ""
        write(into: &output, indent: 0)
        return output
    }

    private func write(into output: inout String, indent: Int) {
        switch self {
        case .null: output += "null"
        case .boolean(let value): output += value ? "true" : "false"
        case .number(let value): output += String(value)
        case .text(let value): JSONText.quote(value, into: &output)
        case .list(let values):
            JSONText.block("[", "]", values, into: &output, indent: indent) {
                $0.write(into: &$1, indent: indent + 1)
            }
        case .object(let members):
            JSONText.block("{", "}", members, into: &output, indent: indent) {
                JSONText.quote($0.0, into: &$1)
                $1 += ": "
                $0.1.write(into: &$1, indent: indent + 1)
            }
        }
    }

    private static func block<Element>(
        _ open: String, _ close: String, _ elements: [Element], into output: inout String,
        indent: Int, _ body: (Element, inout String) -> Void
    ) {
        guard !elements.isEmpty else {
            output += open + close
            return
        }
        output += open
        for (index, element) in elements.enumerated() {
            output += index == 0 ? "\n" : ",\n"
            output += String(repeating: "  ", count: indent + 1)
            body(element, &output)
        }
        output += "\n" + String(repeating: "  ", count: indent) + close
    }

    private static func quote(_ text: String, into output: inout String) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7f {
                    let digits = String(scalar.value, radix: 16)
                    output += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
                } else {
                    output.unicodeScalars.append(scalar)
                }
            }
        }
        output += "\""
    }
}
