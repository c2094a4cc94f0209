import CASFileSystem
import Foundation
import Testing

/// Compares what commands printed with a committed file, in which everything that differs from run to
/// run is a placeholder.
///
/// `CAS_RECORD_SNAPSHOTS=1` writes the files instead.
enum Snapshot {
    /// Compares the transcript of a fixture with `Snapshots/NAME.txt`.
    static func check(
        _ fixture: CommandLineFixture, _ name: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let actual = normalize(fixture.transcript.joined(separator: "\n"), root: fixture.root)
        let directory = FilePaths.join(FilePaths.parent(#filePath), "Snapshots")
        let url = URL(fileURLWithPath: FilePaths.join(directory, "\(name).txt"))
        if ProcessInfo.processInfo.environment["CAS_RECORD_SNAPSHOTS"] == "1" {
            try Data(actual.utf8).write(to: url)
            return
        }
        let expected = String(decoding: try Data(contentsOf: url), as: UTF8.self)
        guard actual != expected else { return }
        let difference = actual.split(separator: "\n", omittingEmptySubsequences: false)
            .difference(from: expected.split(separator: "\n", omittingEmptySubsequences: false))
        let lines = difference.map { change in
            switch change {
            case .remove(let offset, let line, _): "\(offset + 1) - \(line)"
            case .insert(let offset, let line, _): "\(offset + 1) + \(line)"
            }
        }
        Issue.record(
            "\(name).txt differs:\n\(lines.joined(separator: "\n"))", sourceLocation: sourceLocation
        )
    }

    /// Replaces what no two runs have in common.
    ///
    /// Digests become numbers in order of appearance, so that
    /// a snapshot still shows which of them are equal.
    static func normalize(_ text: String, root: String) -> String {
        var text = text.replacingOccurrences(of: root, with: "/ROOT")
        text = text.replacingOccurrences(of: Host.name, with: "MACHINE")
        let rules: [(String, String)] = [
            (#"cas_[0-9a-f]{32}_[0-9a-f]{64}"#, "<token>"),
            (#"(127\.0\.0\.1|localhost):[0-9]+"#, "$1:<port>"),
            (#"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z"#, "<time>"),
            (#" [0-9.]+ (ms|s)\b"#, " <duration>"),
            (#"[0-9.]+ ([KMGT]i)?B (written$|sent$|received|free)"#, "<size> $2"),
            (#"(uncompressed|on the disk|free)( +)[0-9.]+ ([KMGT]i)?B"#, "$1$2<size>"),
            (
                #""(sentBytes|receivedBytes|fileBytes|milliseconds|packBytes|recordBytes|freeBytes|reserveBytes)": [0-9]+"#,
                #""$1": <number>"#
            ),
            // What goes along unasked counts as new, and whether it does depends on the stat cache's doubts.
            (
                #"new: .*; <size> (written|sent)(\nlargest new files:(\n +[0-9.]+ ([KMGT]i)?B  .*)*)?"#,
                "new: <new> $1"
            ),
            // Columns are as wide as the path of the test's directory.
            (#"(/ROOT\S*) {2,}"#, "$1  "), (#" {2,}\("#, "  ("),
            // A server makes it beside its first requests.
            (#"(reserve +)(none; a server keeps one|[0-9.]+ ([KMGT]i)?B kept .*)$"#, "$1<reserve>"),
            (#"\.before-[0-9]+"#, ".before-<number>"),
            (#"[0-9a-f]{32}\.pack, byte [0-9]+"#, "<pack>, byte <number>"),
            // Events hold the machine's name.
            (#"( records?), [0-9.]+ ([KMGT]i)?B: "#, "$1, <size>: "),
            // Names of rendered objects hold digits of a digest.
            (#"(name"?: "?[a-z0-9-]+)-[0-9a-f]{8}\b"#, "$1-<digits>"),
        ]
        for (pattern, replacement) in rules {
            text = text.replacingOccurrences(
                of: "(?m)" + pattern, with: replacement, options: .regularExpression)
        }
        return numberDigests(text)
    }

    private static func numberDigests(_ text: String) -> String {
        var numbers: [Substring: Int] = [:]
        var result = ""
        var rest = text[...]
        while let match = rest.firstRange(of: /\b[0-9a-f]{12,64}\b/) {
            let key = rest[match].prefix(12)
            let number = numbers[key] ?? numbers.count + 1
            numbers[key] = number
            result += rest[..<match.lowerBound] + "<\(number)>"
            rest = rest[match.upperBound...]
        }
        return result + rest
    }
}
