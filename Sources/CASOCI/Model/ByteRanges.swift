/// The byte ranges that a request asks for (RFC 9110, 14.1 and 14.2), in its order, clamped to what there is.
package enum ByteRanges: Hashable, Sendable {
    /// Ranges a request may have: what clients of partial pulls send.
    package static let maximumCount = 1_024

    /// Parts to serve, at least one, none empty.
    case ranges([Range<UInt64>])
    /// Nothing of what is asked for is there (416).
    case unsatisfiable
    /// Not ranges of bytes: the header counts for nothing (200), or is refused (400).
    case malformed
    /// More ranges than allowed, or much more than the whole (400: clients then halve them).
    case tooMany

    /// Parses a Range header for content of `size` bytes.
    package init(_ header: String, size: UInt64) {
        guard let equals = header.utf8.firstIndex(of: UInt8(ascii: "=")),
            header[..<equals].lowercased() == "bytes"
        else {
            self = .malformed
            return
        }
        let text = header[header.utf8.index(after: equals)...]
        var ranges: [Range<UInt64>] = []
        var count = 0
        var total: UInt64 = 0
        var isReversed = false
        for item in text.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        {
            let part = ByteRanges.trim(item)
            if part.isEmpty { continue }
            count += 1
            guard count <= ByteRanges.maximumCount else {
                self = .tooMany
                return
            }
            guard let dash = part.firstIndex(of: UInt8(ascii: "-")),
                let first = ByteRanges.number(part[..<dash]),
                let last = ByteRanges.number(part[part.index(after: dash)...]),
                first != nil || last != nil
            else {
                self = .malformed
                return
            }
            if let first, let last, last < first { isReversed = true }
            guard let range = ByteRanges.clamp(first, last, size) else { continue }
            ranges.append(range)
            total = total.addingReportingOverflow(range.upperBound - range.lowerBound).partialValue
        }
        if count == 0 {
            self = .malformed
        } else if ranges.isEmpty || isReversed {
            self = .unsatisfiable
        } else if ranges.count > 2, size < UInt64.max / 4, total > size * 2 {
            self = .tooMany
        } else {
            self = .ranges(ranges)
        }
    }

    private static func trim(_ text: Substring.UTF8View) -> Substring.UTF8View {
        let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
        var text = text
        while let byte = text.first, isSpace(byte) { text.removeFirst() }
        while let byte = text.last, isSpace(byte) { text.removeLast() }
        return text
    }

    /// A number, the largest one for what does not fit; `.some(nil)` for no digits, nil for anything else.
    private static func number(_ text: Substring.UTF8View) -> UInt64?? {
        guard !text.isEmpty else { return .some(nil) }
        var value: UInt64 = 0
        for byte in text {
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(byte - 0x30))
            value = overflow || carry ? .max : sum
            if overflow || carry { return isDigits(text) ? .some(.max) : nil }
        }
        return .some(value)
    }

    private static func isDigits(_ text: Substring.UTF8View) -> Bool {
        text.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
    }

    /// The part of a range that is there; nil if nothing is.
    private static func clamp(_ first: UInt64?, _ last: UInt64?, _ size: UInt64) -> Range<UInt64>? {
        guard let first else {
            guard let suffix = last, suffix > 0, size > 0 else { return nil }
            return size - min(suffix, size)..<size
        }
        let end = last.map { $0 >= size ? size : $0 + 1 } ?? size
        return first < end ? first..<end : nil
    }
}

/// Where the bytes of a body stand in a whole (RFC 9110, 14.4), and the form without unit that uploads use.
package struct ContentRange: Hashable, Sendable {
    /// The bytes, at least one.
    package var range: Range<UInt64>
    /// Bytes of the whole, if it was said.
    package var size: UInt64?

    /// A range of a whole.
    package init(_ range: Range<UInt64>, size: UInt64? = nil) {
        self.range = range
        self.size = size
    }

    /// Parses `a-b`, `bytes a-b`, `bytes a-b/size` or `bytes a-b/*`; nil for anything else.
    package init?(_ header: String) {
        var text = header[...]
        if text.prefix(5).lowercased() == "bytes" {
            text = text.dropFirst(5)
            guard let mark = text.first, mark == " " || mark == "=" else { return nil }
            text = text.dropFirst().drop { $0 == " " }
        }
        if let slash = text.firstIndex(of: "/") {
            let whole = text[text.index(after: slash)...]
            if whole != "*" {
                guard let size = ContentRange.number(whole) else { return nil }
                self.size = size
            }
            text = text[..<slash]
        }
        guard let dash = text.firstIndex(of: "-"), let first = ContentRange.number(text[..<dash]),
            let last = ContentRange.number(text[text.index(after: dash)...]),
            first <= last, last < .max
        else { return nil }
        range = first..<last + 1
        if let size, last >= size { return nil }
    }

    private static func number(_ text: Substring) -> UInt64? {
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        return UInt64(text)
    }

    /// `bytes a-b/size`, as an answer with one part has it.
    package var description: String {
        "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size.map { "\($0)" } ?? "*")"
    }

    /// `bytes */size`, as a refusal (416) has it.
    package static func unsatisfied(size: UInt64) -> String { "bytes */\(size)" }

    /// The Range header of an upload of which `count` bytes have come: `0-b`, `0-0` before the first.
    package static func received(_ count: UInt64) -> String { "0-\(count == 0 ? 0 : count - 1)" }

    /// How many bytes such a header of an upload means; nil unless it begins at zero.
    package static func received(_ header: String) -> UInt64? {
        guard let range = ContentRange(header)?.range, range.lowerBound == 0 else { return nil }
        return range.upperBound
    }
}

/// The framing of an answer with several parts (RFC 9110, 14.6): what stands between them, and how long it is.
package struct MultipartRanges: Sendable {
    /// The parts, in the order of the request.
    package let ranges: [Range<UInt64>]
    private let size: UInt64
    private let type: String
    private let boundary: String

    /// A frame around parts of a whole of `size` bytes; the boundary must not occur in them, so it is random.
    package init(
        _ ranges: [Range<UInt64>], size: UInt64, mediaType: String, boundary: String
    ) {
        self.ranges = ranges
        self.size = size
        type = mediaType
        self.boundary = boundary
    }

    /// The Content-Type of the answer.
    package var contentType: String { "multipart/byteranges; boundary=\(boundary)" }

    /// What stands before the bytes of part `index`.
    package func header(_ index: Int) -> [UInt8] {
        let range = ContentRange(ranges[index], size: size)
        return Array(
            ("\(index == 0 ? "" : "\r\n")--\(boundary)\r\nContent-Type: \(type)\r\n"
                + "Content-Range: \(range.description)\r\n\r\n").utf8)
    }

    /// What stands behind the last part.
    package var trailer: [UInt8] { Array("\r\n--\(boundary)--\r\n".utf8) }

    /// Bytes of the whole answer.
    package var contentLength: UInt64 {
        ranges.indices.reduce(UInt64(trailer.count)) { sum, index in
            sum + UInt64(header(index).count) + ranges[index].upperBound - ranges[index].lowerBound
        }
    }
}
