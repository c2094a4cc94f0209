/// Text for a number of bytes, in binary units.
package enum ByteCount {
    private static let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]

    /// `0 B`, `512 B`, `1.5 KiB`, `23 MiB`: two significant digits below ten units, whole units above.
    package static func text(_ count: UInt64) -> String {
        var unit = 0
        var divisor: UInt64 = 1
        while unit < units.count - 1, count / divisor >= 1024 {
            divisor <<= 10
            unit += 1
        }
        guard unit > 0 else { return "\(count) B" }
        let tenths = count / divisor * 10 + (count % divisor) * 10 / divisor
        if tenths >= 100 { return "\(tenths / 10) \(units[unit])" }
        return "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }

    /// The text that `parse` makes the very same number of: `500GiB`, `1536MiB`, `7`.
    package static func exact(_ count: UInt64) -> String {
        for (suffix, bits) in [("TiB", UInt64(40)), ("GiB", 30), ("MiB", 20), ("KiB", 10)]
        where count > 0 && count.isMultiple(of: 1 << bits) {
            return "\(count >> bits)\(suffix)"
        }
        return "\(count)"
    }

    /// Parses `123`, `64K`, `64KiB`, `2G`, `1.5GiB` (binary units); nil for anything else.
    package static func parse(_ text: String) -> UInt64? {
        var digits = Substring(text)
        var shift = 0
        var suffix = text.reversed().prefix { !$0.isNumber && $0 != "." }.reversed().map(
            String.init
        )
        .joined()
        digits = text.dropLast(suffix.count)
        suffix = suffix.filter { $0 != " " }.lowercased()
        for (letter, bits) in [("k", 10), ("m", 20), ("g", 30), ("t", 40)]
        where [letter, letter + "b", letter + "ib"].contains(suffix) {
            shift = bits
        }
        guard shift > 0 || suffix.isEmpty || suffix == "b" else { return nil }
        // Swift's numbers would also take signs, exponents and hexadecimal digits.
        let isPlain = digits.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2e }
        guard isPlain, digits.utf8.first != 0x2e else { return nil }
        if let whole = UInt64(digits) {
            return whole <= UInt64.max >> UInt64(shift) ? whole << UInt64(shift) : nil
        }
        guard let value = Double(digits), value >= 0, value < 9e6 else { return nil }
        return UInt64(value * Double(UInt64(1) << UInt64(shift)))
    }
}
