import CASClient
import CASCore
import CASFileSystem
import CASTree
import CASWire
import CASWorkspace

/// What a push tells: lines for a person, or one JSON document.
struct PushReport {
    /// How the push ended.
    enum Outcome {
        case done, stopped, dryRun, comparison
    }

    private static let listed = 10

    let summary: PushSummary
    let ref: Setting<RefName>
    let store: StoreAccess
    let nanoseconds: UInt64
    /// Seconds that the ref was given to live; zero for ever.
    var lifetime: UInt64 = 0

    /// Writes the summary on standard error.
    func writeNotes(_ outcome: Outcome) {
        Console.note(
            "\(named): \(counted(summary.files, "file")), \(ByteCount.text(summary.bytes)) in "
                + duration(nanoseconds: nanoseconds))
        if case .projectFile(let path) = ref.origin, FilePaths.parent(path) != summary.scan.root {
            Console.note("this is \(summary.scan.root) alone, a part of what \(path) is for")
        }
        if let response = summary.response, response.outcome == .unchanged {
            // The everyday case: nothing to warn about that the push before did not tell.
            Console.note(beforeLine(response))
            if let line = ExpiryFlag.note(ref.value, lifetime) { Console.note(line) }
            if let notice = store.localNotice { Console.note(notice) }
            return
        }
        Console.note(newLine(outcome))
        if summary.newBytes > 0 { list("largest new files:", largest) }
        for count in summary.scan.skippedCounts.prefix(Self.listed) {
            Console.note("left out: " + what(count))
        }
        let rules = summary.scan.skippedCounts.count
        if rules > Self.listed { Console.note("left out by \(rules - Self.listed) more rules") }
        list(
            "left out, since they vanished meanwhile:",
            summary.vanished.map { PathText.printable($0) })
        list("links that leave the workspace (they point elsewhere where it is fetched):", links)
        list("names that are one where case does not count:", folds)
        list(
            outcome != .done
                ? "look like secrets, and git does not track them:"
                : "PUSHED, look like secrets, and git does not track them:", secrets)
        switch outcome {
        case .done:
            if let response = summary.response { Console.note(beforeLine(response)) }
            if let line = ExpiryFlag.note(ref.value, lifetime) { Console.note(line) }
            if let notice = store.localNotice { Console.note(notice) }
        case .dryRun: Console.note("dry run: nothing was sent and nothing changed")
        case .stopped, .comparison: break
        }
    }

    /// The ref, and who named it if that was not the command line.
    private var named: String {
        switch ref.origin {
        case .builtIn: "\(ref.value) (by default)"
        case .projectFile(let path): "\(ref.value) (by \(path))"
        default: "\(ref.value)"
        }
    }

    private func newLine(_ outcome: Outcome) -> String {
        let new = "new: \(counted(summary.newFiles, "file")), \(ByteCount.text(summary.newBytes))"
        if outcome == .stopped { return new + " so far; not pushed" }
        if summary.response == nil { return new }
        let verb = store.connection.isLocal ? "written" : "sent"
        return new + "; \(ByteCount.text(summary.sentBytes)) \(verb)"
    }

    private func beforeLine(_ response: PushResponse) -> String {
        guard let previous = response.previous else { return "\(ref.value) is new" }
        return response.outcome == .unchanged || previous == response.snapshot
            ? "\(ref.value) is unchanged: \(previous)"
            : "\(ref.value) named \(previous) before"
    }

    private func list(_ title: String, _ lines: [String]) {
        guard !lines.isEmpty else { return }
        Console.note(title)
        for line in lines.prefix(Self.listed) { Console.note("  " + line) }
        if lines.count > Self.listed {
            Console.note("  and \(counted(lines.count - Self.listed, "more", "more"))")
        }
    }

    private func what(_ count: SkippedCount) -> String {
        let example = printable(count.example)
        guard let rule = count.rule else {
            return counted(count.count, "socket, device or pipe", "sockets, devices or pipes")
                + ", such as \(example)"
        }
        let reason = printable("\(rule)")
        return count.count == 1
            ? "\(example) (\(reason))"
            : "\(counted(count.count, "entry", "entries")), such as \(example) (\(reason))"
    }

    private var largest: [String] {
        var table = TextTable(.right, .left)
        for file in summary.largestNew.prefix(Self.listed) {
            table.add(ByteCount.text(file.size), PathText.printable(file.path))
        }
        return table.lines()
    }

    private var links: [String] {
        summary.scan.findings.compactMap {
            guard case .linkLeaves = $0 else { return nil }
            return $0.text
        }
    }

    private var folds: [String] {
        summary.scan.findings.compactMap {
            guard case .sameIgnoringCase = $0 else { return nil }
            return $0.text
        }
    }

    private var secrets: [String] {
        summary.scan.findings.compactMap {
            guard case .secret = $0 else { return nil }
            return $0.text
        }
    }

    /// The result for `--json`.
    var json: JSONText {
        .object([
            ("ref", .text(ref.value.description)), ("refFrom", .text(ref.origin.text)),
            ("store", .text(store.choice.text)), ("local", .boolean(store.connection.isLocal)),
            ("dryRun", .boolean(summary.response == nil)),
            ("snapshot", .digest(summary.snapshot)), ("tree", .digest(summary.tree)),
            ("previous", .digest(summary.response?.previous)),
            ("unchanged", summary.response.map { .boolean($0.outcome == .unchanged) } ?? .null),
            ("lifetime", lifetime == 0 ? .null : .count(lifetime)),
            ("sequence", summary.response.map { .count($0.sequence) } ?? .null),
            ("files", .count(summary.files)), ("bytes", .count(summary.bytes)),
            ("newFiles", .count(summary.newFiles)), ("newBytes", .count(summary.newBytes)),
            ("sentBytes", .count(summary.sentBytes)),
            (
                "largestNew",
                .list(
                    summary.largestNew.map {
                        .object([
                            ("path", .text(PathText.printable($0.path))), ("size", .count($0.size)),
                        ])
                    })
            ),
            (
                "leftOut",
                .list(
                    summary.scan.skippedCounts.map {
                        .object([
                            ("rule", .optional($0.rule.map { "\($0)" })),
                            ("count", .count($0.count)), ("example", .text($0.example)),
                        ])
                    })
            ),
            ("vanished", .list(summary.vanished.map { .text(PathText.printable($0)) })),
            ("linksThatLeave", .list(links.map { .text($0) })),
            ("sameIgnoringCase", .list(folds.map { .text($0) })),
            ("secrets", .list(secrets.map { .text($0) })),
            ("milliseconds", .count(nanoseconds / 1_000_000)),
        ])
    }
}
