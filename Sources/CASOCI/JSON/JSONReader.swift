import CASCore

extension JSON {
    /// Bytes of a document at most: as large as a manifest may be.
    package static let maximumBytes = 4 << 20
    /// Lists and objects within each other at most.
    package static let maximumDepth = 64
    /// Values of a document at most: each takes many times the bytes that it is written with.
    package static let maximumValues = 400_000

    /// Reads one document; throws `invalidArgument` with the place of the first thing that RFC 8259 does
    /// not allow, and for a member that is there twice, which two readers would read differently.
    package init(decoding bytes: UnsafeRawBufferPointer, limit: Int = JSON.maximumBytes) throws {
        guard bytes.count <= limit else {
            throw CASError(
                .resourceExhausted,
                "a JSON document of \(bytes.count) bytes is larger than the \(limit) allowed")
        }
        var reader = JSONReader(bytes)
        self = try reader.document()
    }

    /// Reads one document; throws `invalidArgument`.
    package init(decoding bytes: [UInt8], limit: Int = JSON.maximumBytes) throws {
        self = try bytes.withUnsafeBytes { try JSON(decoding: $0, limit: limit) }
    }
}

/// Reads a JSON document from the front of a buffer.
private struct JSONReader {
    private let bytes: UnsafeRawBufferPointer
    private var place = 0
    private var values = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func document() throws -> JSON {
        skipSpace()
        let value = try value(depth: 0)
        skipSpace()
        guard place == bytes.count else { throw malformed("something behind the end") }
        return value
    }

    private func malformed(_ what: String) -> CASError {
        CASError(.invalidArgument, "malformed JSON at byte \(place): \(what)")
    }

    private var current: UInt8? { place < bytes.count ? bytes[place] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 {
            place += 1
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard current == byte else { return false }
        place += 1
        return true
    }

    private mutating func value(depth: Int) throws -> JSON {
        guard depth <= JSON.maximumDepth else {
            throw malformed("more than \(JSON.maximumDepth) levels")
        }
        values += 1
        guard values <= JSON.maximumValues else {
            throw CASError(
                .resourceExhausted,
                "a JSON document has more than the \(JSON.maximumValues) values allowed")
        }
        switch current {
        case UInt8(ascii: "{"): return try object(depth)
        case UInt8(ascii: "["): return try list(depth)
        case UInt8(ascii: "\""): return .text(try text())
        case UInt8(ascii: "t"): return try word("true", .boolean(true))
        case UInt8(ascii: "f"): return try word("false", .boolean(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case .some(UInt8(ascii: "0")...UInt8(ascii: "9")), UInt8(ascii: "-"): return try number()
        case .some: throw malformed("no value begins with this byte")
        case nil: throw malformed("the end in place of a value")
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSON) throws -> JSON {
        let text = UnsafeRawBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
        guard bytes.count - place >= text.count,
            bytes[place..<place + text.count].elementsEqual(text)
        else { throw malformed("no value begins like this") }
        place += text.count
        return value
    }

    private mutating func object(_ depth: Int) throws -> JSON {
        place += 1
        var members: [JSON.Member] = []
        var keys: Set<[UInt8]> = []
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object([]) }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw malformed("no name of a member") }
            let key = try text()
            guard keys.insert(Array(key.utf8)).inserted else {
                throw malformed("a member is there twice")
            }
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw malformed("no colon behind a name") }
            skipSpace()
            members.append(JSON.Member(key, try value(depth: depth + 1)))
            skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "}")) else { throw malformed("an object does not end") }
            return .object(members)
        }
    }

    private mutating func list(_ depth: Int) throws -> JSON {
        place += 1
        var elements: [JSON] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .list([]) }
        while true {
            skipSpace()
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "]")) else { throw malformed("a list does not end") }
            return .list(elements)
        }
    }

    private mutating func digits() throws {
        let start = place
        while let byte = current, byte >= 0x30, byte <= 0x39 { place += 1 }
        guard place > start else { throw malformed("a number without digits") }
    }

    private mutating func number() throws -> JSON {
        let start = place
        _ = take(UInt8(ascii: "-"))
        let whole = place
        try digits()
        guard bytes[whole] != UInt8(ascii: "0") || place == whole + 1 else {
            throw malformed("a number begins with a zero")
        }
        if take(UInt8(ascii: ".")) { try digits() }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try digits()
        }
        return .number(String(decoding: bytes[start..<place], as: UTF8.self))
    }

    private mutating func text() throws -> String {
        place += 1
        let start = place
        var output: [UInt8]?
        var run = start
        while let byte = current {
            if byte == UInt8(ascii: "\"") {
                let end = place
                place += 1
                guard var joined = output else { return try string(bytes[start..<end]) }
                joined += bytes[run..<end]
                return try string(joined[...])
            }
            guard byte >= 0x20 else { throw malformed("a control character within a text") }
            guard byte == UInt8(ascii: "\\") else {
                place += 1
                continue
            }
            var joined = output ?? []
            // Without this, the array would have two owners and be copied for each escape.
            output = nil
            joined += bytes[run..<place]
            place += 1
            try escape(into: &joined)
            output = joined
            run = place
        }
        throw malformed("a text does not end")
    }

    private func string(_ run: some Collection<UInt8>) throws -> String {
        guard let text = String(validating: run, as: UTF8.self) else {
            throw malformed("a text is not valid UTF-8")
        }
        return text
    }

    private mutating func escape(into output: inout [UInt8]) throws {
        guard let byte = current else { throw malformed("a text does not end") }
        place += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): output.append(byte)
        case UInt8(ascii: "b"): output.append(0x08)
        case UInt8(ascii: "f"): output.append(0x0c)
        case UInt8(ascii: "n"): output.append(0x0a)
        case UInt8(ascii: "r"): output.append(0x0d)
        case UInt8(ascii: "t"): output.append(0x09)
        case UInt8(ascii: "u"): output += String(try scalar()).utf8
        default: throw malformed("an escape that there is not")
        }
    }

    /// The character of `\uXXXX`, or of two such that make a pair; half a pair is U+FFFD, as Go has it.
    private mutating func scalar() throws -> Character {
        let first = try unit()
        if let scalar = Unicode.Scalar(first) { return Character(scalar) }
        let behind = place
        if first < 0xdc00, take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
            let second = try unit()
            if second >= 0xdc00, second < 0xe000,
                let scalar = Unicode.Scalar(
                    0x1_0000 + (first - 0xd800) << 10 + (second - 0xdc00))
            {
                return Character(scalar)
            }
        }
        place = behind
        return "\u{fffd}"
    }

    private mutating func unit() throws -> UInt32 {
        guard bytes.count - place >= 4 else { throw malformed("an escape does not end") }
        var value: UInt32 = 0
        for byte in bytes[place..<place + 4] {
            switch byte {
            case 0x30...0x39: value = value << 4 | UInt32(byte - 0x30)
            case 0x61...0x66: value = value << 4 | UInt32(byte - 0x57)
            case 0x41...0x46: value = value << 4 | UInt32(byte - 0x37)
            default: throw malformed("an escape has something else than four digits")
            }
        }
        place += 4
        return value
    }
}
