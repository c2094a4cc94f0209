import FoundationEssentials

/// A value of a JSON document (RFC 8259), as far as tokens and key sets need it.
enum JSONValue: Decodable, Hashable, Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case text(String)
    case list([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(String.self) {
            self = .text(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Bool.self) {
            self = .boolean(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .list(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    /// The members of an object that `bytes` are; nil for anything else.
    static func object(_ bytes: some Sequence<UInt8>) -> [String: JSONValue]? {
        guard
            case .object(let members) = try? JSONDecoder().decode(
                JSONValue.self, from: Data(bytes))
        else { return nil }
        return members
    }

    /// The text that it is.
    var text: String? {
        guard case .text(let text) = self else { return nil }
        return text
    }

    /// Seconds since 1970 (RFC 7519, 2: a NumericDate may have a fraction); nil for what no calendar holds.
    var date: Double? {
        let latest: Int64 = 100_000_000_000
        return switch self {
        case .integer(let seconds) where (-latest...latest).contains(seconds): Double(seconds)
        case .number(let seconds) where abs(seconds) < Double(latest): seconds
        default: nil
        }
    }

    /// What it is compared as in a rule: itself for a text, its JSON for a number or a truth value, each
    /// element of a list.
    var comparable: [String] {
        switch self {
        case .text(let text): [text]
        case .integer(let number): ["\(number)"]
        case .boolean(let value): ["\(value)"]
        case .list(let elements):
            elements.flatMap { element in
                if case .list = element { return [String]() }
                return element.comparable
            }
        case .null, .number, .object: []
        }
    }
}

/// Base64 with the alphabet of URLs and without padding (RFC 4648, 5; RFC 7515, 2).
enum Base64URL {
    /// The bytes of a text; nil for what no encoder writes: padding, other characters, loose bits.
    static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var output: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for byte in text {
            guard let value = value(byte) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                output.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        guard count < 6, bits & ((1 << UInt32(count)) - 1) == 0 else { return nil }
        return output
    }

    private static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
