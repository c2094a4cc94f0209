import CASKubernetes

/// Writes a value as YAML in styles drawn at random: block and flow, quotes, comments, blank lines, widths of
/// indentation, line ends, anchors.
struct RandomManifest<Generator: RandomNumberGenerator> {
    var random: Generator
    private let listsIndented: Bool
    private let step: Int
    private let lineEnd: String
    private let flowChance: Int
    private var anchors = 0

    init(_ random: Generator) {
        self.random = random
        listsIndented = Bool.random(using: &self.random)
        step = Int.random(in: 1...5, using: &self.random)
        lineEnd = Int.random(in: 0..<4, using: &self.random) == 0 ? "\r\n" : "\n"
        flowChance = [0, 1, 3, 10].randomElement(using: &self.random) ?? 0
    }

    private mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    /// The text of some documents.
    mutating func text(_ documents: [ManifestValue]) -> String {
        var result = chance(20) ? "# head" + lineEnd : ""
        for (index, document) in documents.enumerated() {
            if index > 0 || chance(30) { result += "---" + (chance(20) ? " # doc" : "") + lineEnd }
            if chance(15) {
                result += (chance(50) ? json(document, 0) : flow(document)) + lineEnd
            } else {
                result += lines(document, 0).joined(separator: lineEnd) + lineEnd
            }
            if chance(10) { result += "..." + lineEnd }
        }
        return chance(10) ? String(result.dropLast(lineEnd == "\n" ? 1 : 0)) : result
    }

    private mutating func noise(_ indent: Int) -> [String] {
        var lines: [String] = []
        if chance(8) { lines.append("") }
        if chance(12) { lines.append(String(repeating: " ", count: indent) + "# note: - x\t{[") }
        if chance(3) { lines.append("# far left 'quote") }
        return lines
    }

    private mutating func lines(_ value: ManifestValue, _ indent: Int) -> [String] {
        let space = String(repeating: " ", count: indent)
        switch value {
        case .object(let members) where !members.isEmpty:
            var result: [String] = []
            for member in members {
                if !result.isEmpty { result += noise(indent) }
                result += self.member(member, indent, space)
            }
            return result
        case .list(let items) where !items.isEmpty:
            var result: [String] = []
            for item in items {
                if !result.isEmpty { result += noise(indent) }
                result += self.item(item, indent, space)
            }
            return result
        default: return [space + flow(value)]
        }
    }

    private mutating func member(
        _ member: ManifestValue.Member, _ indent: Int, _ space: String
    ) -> [String] {
        let key = space + scalar(member.key, isKey: true) + ":"
        let comment = chance(10) ? "   # \"of\" \(member.key)" : ""
        switch member.value {
        case .null: return [key + (chance(50) ? "" : chance(50) ? " null" : " ~") + comment]
        case .object(let members) where !members.isEmpty && !chance(flowChance):
            return [key + anchor() + comment] + noise(indent + step)
                + lines(member.value, indent + step)
        case .list(let items) where !items.isEmpty && !chance(flowChance):
            let below = indent + (listsIndented ? step : 0)
            return [key + anchor() + comment] + noise(below) + lines(member.value, below)
        default: return [key + anchor() + " " + flow(member.value) + comment]
        }
    }

    private mutating func item(
        _ value: ManifestValue, _ indent: Int, _ space: String
    ) -> [String] {
        let width = [1, 1, 1, 3].randomElement(using: &random) ?? 1
        let dash = space + "-" + String(repeating: " ", count: width)
        if case .object(let members) = value, !members.isEmpty, !chance(flowChance * 3) {
            if chance(5) {
                return [space + "- # item"] + lines(value, indent + 1 + width)
            }
            var result = lines(value, indent + 1 + width)
            result[0] = dash + result[0].dropFirst(indent + 1 + width)
            return result
        }
        return [dash + flow(value)]
    }

    private mutating func anchor() -> String {
        guard chance(4) else { return "" }
        anchors += 1
        return chance(80) ? " &a\(anchors)" : " &a-\(anchors) "
    }

    private mutating func flow(_ value: ManifestValue) -> String {
        let gap = chance(20) ? " " : ""
        switch value {
        case .null: return "null"
        case .boolean(let flag): return flag ? "true" : "false"
        case .integer(let number): return String(number)
        case .decimal(let text): return text
        case .text(let text): return scalar(text, isKey: false)
        case .list(let items):
            return "[" + gap + items.map { flow($0) }.joined(separator: ", ") + gap + "]"
        case .object(let members):
            return "{" + gap
                + members.map { scalar($0.key, isKey: true) + ": " + flow($0.value) }
                .joined(separator: "," + (chance(20) ? "" : " ")) + gap + "}"
        }
    }

    private func json(_ value: ManifestValue, _ indent: Int) -> String {
        let space = String(repeating: " ", count: (indent + 1) * step)
        let end = lineEnd + String(repeating: " ", count: indent * step)
        switch value {
        case .text(let text): return quoted(text)
        case .list(let items) where !items.isEmpty:
            return "[" + lineEnd
                + items.map { space + json($0, indent + 1) }.joined(separator: "," + lineEnd) + end
                + "]"
        case .object(let members) where !members.isEmpty:
            return "{" + lineEnd
                + members.map { space + quoted($0.key) + ": " + json($0.value, indent + 1) }
                .joined(separator: "," + lineEnd) + end + "}"
        default:
            var plain = self
            return plain.flow(value)
        }
    }

    private mutating func scalar(_ text: String, isKey: Bool) -> String {
        let isPlain =
            text.first?.isLetter == true
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/-_.".contains($0)) }
            && !["true", "yes", "no", "on"].contains(text)
        if isPlain, chance(isKey ? 95 : 70) { return text }
        return chance(50) && !text.contains("'") ? "'\(text)'" : quoted(text)
    }

    private func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }
}
