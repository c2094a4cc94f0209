import CASCore

/// The ref of a push that names none.
enum DefaultRef {
    /// One component of a name from any text: lower-cased, what a name cannot hold turned to '-'.
    static func component(_ text: String) -> String {
        var result = ""
        for scalar in text.lowercased().unicodeScalars {
            let isAllowed =
                ("a"..."z").contains(scalar) || ("0"..."9").contains(scalar)
                || scalar == "." || scalar == "_" || scalar == "-"
            result.unicodeScalars.append(isAllowed ? scalar : "-")
        }
        let trimmed = trim(result)
        if trimmed.isEmpty { return "workspace" }
        if RefName.isName(trimmed) { return trimmed }
        // Separators in runs that the grammar does not know ("a._b"): one dash for each run.
        var simple = ""
        for character in trimmed {
            if character.isLetter || character.isNumber {
                simple.append(character)
            } else if simple.last != "-" {
                simple.append("-")
            }
        }
        return trim(String(simple.prefix(128)))
    }

    private static func trim(_ text: String) -> String {
        func isSeparator(_ character: Character) -> Bool { "._-".contains(character) }
        var rest = text[...]
        while let first = rest.first, isSeparator(first) { rest.removeFirst() }
        while let last = rest.last, isSeparator(last) { rest.removeLast() }
        return String(rest)
    }

    /// The name for a directory: the first prefix that may be written, else the user's name, then
    /// the directory's name.
    static func name(directory: String, writablePrefix: String?, user: String) throws -> RefName {
        let last = directory.split(separator: "/").last.map(String.init) ?? "root"
        let prefix = writablePrefix.flatMap { $0.isEmpty ? nil : $0 } ?? component(user)
        let trimmed = prefix.hasSuffix("/") ? String(prefix.dropLast()) : prefix
        return try RefName(name: trimmed + "/" + component(last))
    }
}
