import CASCore

/// `1 file`, `2 files`, `12,345 files`.
func counted(_ count: some BinaryInteger, _ one: String, _ many: String? = nil) -> String {
    "\(grouped(count)) \(count == 1 ? one : many ?? one + "s")"
}

/// A whole number with a comma between groups of three digits.
func grouped(_ count: some BinaryInteger) -> String {
    let digits = Array(String(count))
    var text = ""
    for (index, digit) in digits.enumerated() {
        if index > 0, (digits.count - index) % 3 == 0, digits[index - 1] != "-" { text += "," }
        text.append(digit)
    }
    return text
}

/// `0.42 s`, `12.3 s`, `3 min 4 s`.
func duration(nanoseconds: UInt64) -> String {
    let milliseconds = nanoseconds / 1_000_000
    if milliseconds < 1000 { return "\(milliseconds) ms" }
    if milliseconds < 60_000 {
        return "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
    }
    let seconds = milliseconds / 1000
    return "\(seconds / 60) min \(seconds % 60) s"
}
