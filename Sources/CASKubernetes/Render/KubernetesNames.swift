package import CASCore

/// What Kubernetes accepts as a name, so that it is said before anything is submitted
/// (kubernetes.io, "Object Names and IDs", "Labels and Selectors").
package enum KubernetesNames {
    /// Characters that a label of a host name may have at most, and a label's value.
    package static let maximumLabel = 63
    private static let maximumSubdomain = 253

    /// Whether a text is a DNS-1123 label: lower-case letters, digits and dashes inside.
    package static func isLabel(_ text: String) -> Bool {
        isLabel(text.utf8[...]) && text.utf8.count <= maximumLabel
    }

    private static func isLabel(_ text: Substring.UTF8View) -> Bool {
        guard let first = text.first, let last = text.last else { return false }
        return isLowerOrDigit(first) && isLowerOrDigit(last)
            && text.allSatisfy { isLowerOrDigit($0) || $0 == UInt8(ascii: "-") }
    }

    /// Whether a text is a DNS-1035 label: one that begins with a letter.
    package static func isLetterFirstLabel(_ text: String) -> Bool {
        isLabel(text) && !isDigit(text.utf8.first ?? 0)
    }

    /// Whether a text is a DNS-1123 subdomain: labels joined by dots.
    package static func isSubdomain(_ text: String) -> Bool {
        text.utf8.count <= maximumSubdomain
            && text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
                .allSatisfy { isLabel($0) }
    }

    /// Whether a text is the value of a label.
    package static func isLabelValue(_ text: String) -> Bool {
        text.isEmpty || isQualifiedPart(text)
    }

    /// Whether a text is the key of a label, or the name of an extended resource: `[DOMAIN/]NAME`.
    package static func isQualified(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        switch parts.count {
        case 1: return isQualifiedPart(parts[0])
        case 2: return isSubdomain(parts[0]) && isQualifiedPart(parts[1])
        default: return false
        }
    }

    private static func isQualifiedPart(_ text: String) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last else { return false }
        return text.utf8.count <= maximumLabel && isLetterOrDigit(first) && isLetterOrDigit(last)
            && text.utf8.allSatisfy { isLetterOrDigit($0) || "-_.".utf8.contains($0) }
    }

    /// Whether a text is a variable's name for every version of Kubernetes.
    package static func isVariable(_ text: String) -> Bool {
        guard let first = text.utf8.first, !isDigit(first) else { return false }
        return text.utf8.allSatisfy { isLetterOrDigit($0) || "-_.".utf8.contains($0) }
            && text != "." && text != ".."
    }

    /// Whether a text is an amount of a resource: `4`, `500m`, `1.5`, `32Gi`, `1e9`.
    package static func isQuantity(_ text: String) -> Bool {
        let digits = text.utf8.prefix { isDigit($0) || $0 == UInt8(ascii: ".") }
        let suffix = String(text.utf8.dropFirst(digits.count)) ?? "?"
        guard let first = digits.first, let last = digits.last, isDigit(first), isDigit(last),
            digits.count(where: { $0 == UInt8(ascii: ".") }) <= 1, digits.count <= 18
        else { return false }
        let suffixes = [
            "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
        ]
        if suffixes.contains(suffix) { return true }
        guard let mark = suffix.first, mark == "e" || mark == "E" else { return false }
        let exponent = suffix.dropFirst()
        let unsigned =
            exponent.hasPrefix("-") || exponent.hasPrefix("+")
            ? exponent.dropFirst() : exponent
        return (1...2).contains(unsigned.count) && unsigned.utf8.allSatisfy(isDigit)
    }

    /// Whether a text is the name of a resource that a container can ask for.
    package static func isResource(_ text: String) -> Bool {
        if ["cpu", "memory", "ephemeral-storage"].contains(text) || text.hasPrefix("hugepages-") {
            return true
        }
        return text.contains("/") && isQualified(text)
    }

    /// The name of an image, as far as it can be judged without a registry.
    package static func isImage(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 500
            && text.utf8.allSatisfy { isLetterOrDigit($0) || "-_./:@+[]".utf8.contains($0) }
            && isLetterOrDigit(text.utf8.first ?? 0)
    }

    /// A value that Kubernetes would not take.
    package static func refused(_ what: String, _ value: String, _ rule: String) -> CASError {
        CASError(
            .invalidArgument, "\(what) is '\(value)', which Kubernetes does not accept; \(rule)")
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    private static func isLowerOrDigit(_ byte: UInt8) -> Bool {
        isDigit(byte) || (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z"))
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        isLowerOrDigit(byte) || (byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z"))
    }
}
