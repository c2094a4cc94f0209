import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASWire

/// `cas rule set|list|rm`.
struct RuleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rule",
        abstract: "Say what a store keeps of the refs of some names.",
        discussion: """
            A rule is about the names that its pattern matches: '*' stands for any text within a component, \
            '**' for any text. One rule applies to a name: that with the longest pattern. Without a \
            rule refs stay, and what a ref named before stays for 30 days.

            EXAMPLES:
              cas rule set 'team/*' --keep 10 --keep-for 30d --keep-tags 'v*'
              cas rule set 'release/**' --once '*'
              cas rule set 'ci/**' --cache --quota 500GiB
              cas rule list
              cas rule rm 'ci/**'
            """,
        subcommands: [Set.self, List.self, Remove.self])

    /// `cas rule set PATTERN …`.
    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set",
            abstract: "Set a rule over that of the same pattern.",
            discussion: """
                What a flag of an earlier rule said and is left out now does not hold any more.

                EXAMPLES:
                  cas rule set 'team/*' --keep 10 --history 7d
                  cas rule set 'team/**' --quota 2TiB
                """)

        @Argument(help: "Which names it is about, as 'team/*' or 'team/**'.")
        var pattern: String

        @Option(help: ArgumentHelp("Keep the N tags of each name that moved last.", valueName: "n"))
        var keep: UInt64?

        @Option(
            help: ArgumentHelp(
                "Keep tags that moved within this time; with --keep either is enough.",
                valueName: "duration"))
        var keepFor: String?

        @Option(
            help: ArgumentHelp(
                "Keep tags that match, whatever these two say; can be repeated.",
                valueName: "glob"))
        var keepTags: [String] = []

        @Option(
            help: ArgumentHelp(
                "Tags that match are created once, and neither moved nor removed; can be repeated.",
                valueName: "glob"))
        var once: [String] = []

        @Option(
            help: ArgumentHelp(
                "How long what a ref named before stays (30d; 0s for a cache).",
                valueName: "duration"))
        var history: String?

        @Option(
            help: ArgumentHelp(
                "Bytes that all refs of the pattern may have together, each snapshot counted once.",
                valueName: "size"))
        var quota: String?

        @Flag(help: "Beyond the quota remove what was used least recently, and refuse no push.")
        var cache = false

        @Option(
            help: ArgumentHelp(
                "With --cache: what was used within this time is not removed (1d).",
                valueName: "duration"))
        var window: String?

        @OptionGroup var storeFlags: StoreFlags
        @OptionGroup var output: OutputFlags

        func validate() throws {
            if keep == 0 { throw ValidationError("--keep must be at least 1") }
            if cache, quota == nil { throw ValidationError("--cache needs --quota") }
            if window != nil, !cache { throw ValidationError("--window is about --cache") }
            let says =
                [keepFor, history, quota].contains { $0 != nil } || keep != nil || !once.isEmpty
            guard says else {
                throw ValidationError(
                    keepTags.isEmpty
                        ? "a rule has to say something: --keep, --keep-for, --once, --history or "
                            + "--quota"
                        : "--keep-tags is about what --keep or --keep-for would remove")
            }
            _ = try rule()
        }

        private func rule() throws -> RetentionRule {
            var rule = RetentionRule(
                pattern: try Arguments.usage { try GlobPattern(names: pattern) }
                    .description)
            for glob in keepTags + once { _ = try Arguments.usage { try GlobPattern(tags: glob) } }
            rule.keep = keep ?? 0
            rule.keepSeconds = try keepFor.map { UInt64(try Arguments.duration($0)) } ?? 0
            rule.keepTags = keepTags
            rule.onceTags = once
            rule.historySeconds = try history.map { UInt64(try Arguments.span($0)) }
            rule.quota = try quota.map { try Arguments.bytes($0) }
            rule.isCache = cache
            rule.windowSeconds = try window.map { UInt64(try Arguments.span($0)) }
            return rule
        }

        func run() throws {
            var rule = try rule()
            let settings = try Settings.load()
            rule.provenance = settings.provenance()
            try storeFlags.withStore(create: true, settings: settings) { store in
                let set = try store.connection.set(rule: rule)
                if output.json {
                    Console.data(set.json)
                } else {
                    Console.data("\(set.pattern)  \(set.text)")
                }
                Console.note("set the rule '\(set.pattern)' in \(store.choice.text)")
            }
        }
    }

    /// `cas rule list`.
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List rules by pattern.",
            discussion: """
                EXAMPLES:
                  cas rule list
                  cas rule list --json
                """)

        @OptionGroup var storeFlags: StoreFlags
        @OptionGroup var output: OutputFlags

        func run() throws {
            try storeFlags.withStore(settings: try Settings.load()) { store in
                let rules = try store.connection.rules()
                if output.json { return Console.data(.list(rules.map(\.json))) }
                var table = TextTable(.left, .left)
                for rule in rules { table.add(printable(rule.pattern), printable(rule.text)) }
                Console.data(lines: table.lines())
                if rules.isEmpty { Console.note("no rules in \(store.choice.text)") }
            }
        }
    }

    /// `cas rule rm PATTERN`.
    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm", abstract: "Remove the rule of a pattern.",
            discussion: """
                EXAMPLES:
                  cas rule rm 'ci/**'
                """)

        @Argument(help: "The pattern that 'cas rule list' shows.")
        var pattern: String

        @OptionGroup var storeFlags: StoreFlags

        func run() throws {
            let settings = try Settings.load()
            let rule = RetentionRule(
                pattern: try Arguments.usage { try GlobPattern(names: pattern) }.description,
                provenance: settings.provenance())
            try storeFlags.withStore(settings: settings) { store in
                try store.connection.remove(rule: rule)
                Console.note("removed the rule '\(rule.pattern)' from \(store.choice.text)")
            }
        }
    }
}

extension RetentionRule {
    /// For a person: the flags that say the same.
    var text: String {
        var words: [String] = []
        if keep > 0 { words.append("--keep \(keep)") }
        if keepSeconds > 0 { words.append("--keep-for \(DurationText.text(keepSeconds))") }
        words += keepTags.map { "--keep-tags '\($0)'" }
        words += onceTags.map { "--once '\($0)'" }
        if let historySeconds { words.append("--history \(DurationText.text(historySeconds))") }
        if let quota { words.append("--quota \(ByteCount.exact(quota))") }
        if isCache { words.append("--cache") }
        if let windowSeconds { words.append("--window \(DurationText.text(windowSeconds))") }
        return words.joined(separator: " ")
    }

    /// The rule for `--json`.
    var json: JSONText {
        .object([
            ("pattern", .text(pattern)), ("keep", keep > 0 ? .count(keep) : .null),
            ("keepSeconds", keepSeconds > 0 ? .count(keepSeconds) : .null),
            ("keepTags", .list(keepTags.map { .text($0) })),
            ("onceTags", .list(onceTags.map { .text($0) })),
            ("historySeconds", historySeconds.map { .count($0) } ?? .null),
            ("quota", quota.map { .count($0) } ?? .null), ("cache", .boolean(isCache)),
            ("windowSeconds", windowSeconds.map { .count($0) } ?? .null),
            ("provenance", provenance.json), ("created", .text(created.iso8601)),
        ])
    }
}
