import CASCore
import Foundation

/// The hexadecimal examples of a page beside the code, which tests decode, so that it can not drift.
package struct DocumentExamples {
    /// Bytes by the name that stands behind "```hex ".
    package let bytes: [String: [UInt8]]

    /// Reads a page, named from the root of the checkout: `Sources/CASPack/CASPack.docc/Packs.md`.
    ///
    /// Within a line, what stands behind `|` is a comment.
    package init(_ page: String) throws {
        let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: page)
        var bytes: [String: [UInt8]] = [:]
        var name: String?
        for line in try String(contentsOf: url, encoding: .utf8).split(separator: "\n") {
            if line.hasPrefix("```hex") {
                name = line.dropFirst(6).trimmingCharacters(in: .whitespaces)
            } else if line.hasPrefix("```") {
                name = nil
            } else if let name {
                let digits = line.prefix { $0 != "|" }.filter { $0 != " " }
                guard let run = Hexadecimal.decode(digits) else {
                    throw CASError(.dataLoss, "'\(line)' in \(page) is not hexadecimal")
                }
                bytes[name, default: []] += run
            }
        }
        self.bytes = bytes
    }

    /// The example of that name; throws `notFound`.
    package func example(_ name: String = "") throws -> [UInt8] {
        guard let example = bytes[name] else {
            throw CASError(.notFound, "there is no example named '\(name)'")
        }
        return example
    }
}
