import CASCore

/// Which rule decided about an entry.
package struct IgnoreMatch: Sendable, CustomStringConvertible {
    /// The file or option that holds the rule.
    package let list: IgnoreList
    private let index: Int

    init(list: IgnoreList, index: Int) {
        self.list = list
        self.index = index
    }

    /// The rule.
    package var pattern: IgnorePattern { list.patterns[index] }

    /// `.gitignore:3: build/`, or `--exclude: *.tmp`, or `default: .git`.
    package var description: String {
        let text = String(decoding: pattern.source, as: UTF8.self)
        switch list.kind {
        case .gitignore, .casignore: return "\(list.source):\(pattern.line): \(text)"
        case .defaults, .exclude, .include: return "\(list.source): \(text)"
        }
    }
}

/// What the rules say of an entry.
package enum IgnoreVerdict: Sendable {
    /// It belongs to the push.
    case keep
    /// A directory that weaker rules leave out, but a rule of this kind names: it comes whole, so
    /// files of kinds below this one are not asked about anything in it.
    case bringBack(IgnoreList.Kind)
    /// It does not; below a directory that was left out, the rule is that directory's.
    case leaveOut(IgnoreMatch)
    /// A directory that is left out, but below which an `--include` may match.
    case descend(IgnoreMatch)
    /// A directory that is left out, but in which git tracks something; what else is in it is left out
    /// by the same rule.
    case tracked(IgnoreMatch)
}

/// Patterns that stand in a project file.
package struct ProjectPatterns: Sendable {
    /// The file, for messages.
    package var path: String
    /// Patterns that are kept.
    package var includes: [String]
    /// Patterns that are left out.
    package var excludes: [String]

    /// Patterns of a file.
    package init(path: String, includes: [String], excludes: [String]) {
        self.path = path
        self.includes = includes
        self.excludes = excludes
    }
}

/// The rules of one push that do not depend on a directory: the command line's and the defaults.
package struct IgnoreRules: Sendable {
    /// Names left out unless a stronger rule brings them back.
    package static let defaultNames = [
        ".git", ".cas", ".venv", "__pycache__", ".ipynb_checkpoints",
    ]

    /// All of them, of one kind the stronger one last.
    let lists: [IgnoreList]

    /// Compiles the command line's and the project's patterns, which are relative to the directory that is pushed;
    /// `base` is its path below the repository's root, with a slash at the end, or empty.
    package init(
        includes: [String] = [], excludes: [String] = [], project: ProjectPatterns? = nil,
        useDefaults: Bool = true, base: [UInt8] = []
    ) throws {
        var lists: [IgnoreList] = []
        if let project {
            lists = [
                try IgnoreRules.list(
                    .include, "\(project.path): include", project.includes, base),
                try IgnoreRules.list(
                    .exclude, "\(project.path): exclude", project.excludes, base),
            ]
        }
        lists += [
            try IgnoreRules.list(.include, "--include", includes, base),
            try IgnoreRules.list(.exclude, "--exclude", excludes, base),
            try IgnoreRules.list(
                .defaults, "default", useDefaults ? IgnoreRules.defaultNames : [], base),
        ]
        self.lists = lists
    }

    private static func list(
        _ kind: IgnoreList.Kind, _ option: String, _ texts: [String], _ base: [UInt8]
    ) throws -> IgnoreList {
        var patterns: [IgnorePattern] = []
        for (index, text) in texts.enumerated() {
            guard let pattern = IgnorePattern(line: text.utf8, number: index + 1) else {
                throw CASError(
                    .invalidArgument, "\(option) '\(text)' matches nothing",
                    hint: "patterns are those of .gitignore: *.log, build/, /data/**/*.bin")
            }
            guard !pattern.isNegated else {
                throw CASError(
                    .invalidArgument, "\(option) '\(text)' begins with '!'",
                    hint: "use --include to keep and --exclude to leave out; \\! is a literal !")
            }
            patterns.append(pattern)
        }
        return IgnoreList(kind: kind, source: option, base: base, patterns: patterns)
    }
}

/// The rules in force in one directory; immutable, shared between threads.
package final class IgnoreScope: Sendable {
    /// All lists, strongest first.
    private let lists: [IgnoreList]
    /// For each list the path patterns that can match in this directory.
    private let active: [[Int32]]
    /// Ignore files of kinds below this one are not read from here on.
    private let weakestFiles: IgnoreList.Kind
    /// The rule that left this directory out, if it is read for the sake of `--include` only.
    package let inherited: IgnoreMatch?
    /// Whether what is left out here has to be named, since nothing above it was.
    package let reportsEntries: Bool
    /// Whether verdicts need the whole path.
    package let needsPath: Bool

    private init(
        lists: [IgnoreList], weakestFiles: IgnoreList.Kind, inherited: IgnoreMatch?,
        reportsEntries: Bool, active: [[Int32]]
    ) {
        self.lists = lists
        self.reportsEntries = reportsEntries
        self.weakestFiles = weakestFiles
        self.inherited = inherited
        self.active = active
        needsPath = active.contains { !$0.isEmpty }
    }

    /// The rules in the directory where a walk begins.
    ///
    /// `files` are the ignore files above it and in
    /// it, weakest first (`.git/info/exclude`, then downwards from the repository's root); `path` is
    /// its path below the repository's root, with a slash at the end, or empty.
    package convenience init(rules: IgnoreRules, files: [IgnoreList], path: [UInt8] = []) {
        let lists = IgnoreScope.order(rules.lists + files)
        self.init(
            lists: lists, weakestFiles: .gitignore, inherited: nil, reportsEntries: true,
            directory: path)
    }

    private convenience init(
        lists: [IgnoreList], weakestFiles: IgnoreList.Kind, inherited: IgnoreMatch?,
        reportsEntries: Bool, directory: [UInt8]
    ) {
        let slashes = directory.count { $0 == Byte.slash }
        self.init(
            lists: lists, weakestFiles: weakestFiles, inherited: inherited,
            reportsEntries: reportsEntries,
            active: directory.withUnsafeBufferPointer { directory in
                lists.map { $0.active(in: directory, slashes: slashes) }
            })
    }

    /// Strongest first; of one kind the later one first, which is the one of the deeper directory.
    private static func order(_ lists: [IgnoreList]) -> [IgnoreList] {
        lists.enumerated()
            .filter { !$0.element.patterns.isEmpty }
            .sorted { ($0.element.kind, $0.offset) > ($1.element.kind, $1.offset) }
            .map(\.element)
    }

    /// Whether an ignore file of that kind counts in the directory that `verdict` lets the scan enter.
    package func reads(_ kind: IgnoreList.Kind) -> Bool {
        guard kind >= weakestFiles else { return false }
        // In a directory that git leaves out, what it tracks may still be left out for the push.
        return inherited.map { kind > .gitignore && $0.list.kind <= .gitignore } ?? true
    }

    /// The rules in a directory below, before its own ignore files are read.
    ///
    /// `path` is that of the
    /// directory below the repository's root, with a slash at the end.
    package func entering(
        _ path: [UInt8], _ verdict: IgnoreVerdict
    ) -> IgnoreScope {
        switch verdict {
        case .keep:
            if lists.allSatisfy({ $0.paths.isEmpty }) { return self }
            return IgnoreScope(
                lists: lists, weakestFiles: weakestFiles, inherited: nil, reportsEntries: true,
                directory: path)
        case .bringBack(let kind):
            let kept = lists.filter {
                $0.kind >= kind || $0.kind == .exclude || $0.kind == .defaults
            }
            return IgnoreScope(
                lists: kept, weakestFiles: max(kind, weakestFiles), inherited: nil,
                reportsEntries: true, directory: path)
        case .leaveOut(let match), .descend(let match):
            return IgnoreScope(
                lists: lists, weakestFiles: weakestFiles, inherited: match, reportsEntries: false,
                directory: path)
        case .tracked(let match):
            return IgnoreScope(
                lists: lists, weakestFiles: weakestFiles, inherited: match,
                reportsEntries: reportsEntries, directory: path)
        }
    }

    /// The rules of this directory with its own ignore files, whose path is `path`.
    package func adding(
        _ files: [IgnoreList], path: [UInt8]
    ) -> IgnoreScope {
        guard files.contains(where: { !$0.patterns.isEmpty }) else { return self }
        return IgnoreScope(
            lists: IgnoreScope.order(lists.reversed() + files), weakestFiles: weakestFiles,
            inherited: inherited, reportsEntries: reportsEntries, directory: path)
    }

    /// Decides about an entry.
    ///
    /// `path` is its path below the repository's root; it may be empty unless
    /// `needsPath` or the entry is a directory.
    package func verdict(
        name: UnsafeBufferPointer<UInt8>, path: UnsafeBufferPointer<UInt8>, isDirectory: Bool
    ) -> IgnoreVerdict {
        guard let (position, match) = firstMatch(0, name, path, isDirectory) else {
            guard let inherited else { return .keep }
            return leftOut(inherited, path, isDirectory)
        }
        let keeps = match.list.kind == .include || match.pattern.isNegated
        if let inherited {
            guard match.list.kind == .include else {
                // A stronger rule than the one above also leaves out what git tracks.
                let isStronger = match.list.kind > inherited.list.kind && !keeps
                return leftOut(isStronger ? match : inherited, path, isDirectory)
            }
            return isDirectory ? .bringBack(.include) : .keep
        }
        guard keeps else { return leftOut(match, path, isDirectory) }
        guard isDirectory, match.list.kind >= .casignore else { return .keep }
        // Kept by a strong rule: it comes back whole if a weaker kind would have left it out.
        var next = position + 1
        while next < lists.count, lists[next].kind == match.list.kind { next += 1 }
        guard let (_, weaker) = firstMatch(next, name, path, isDirectory),
            !weaker.pattern.isNegated
        else { return .keep }
        return .bringBack(match.list.kind)
    }

    private func leftOut(
        _ match: IgnoreMatch, _ path: UnsafeBufferPointer<UInt8>, _ isDirectory: Bool
    ) -> IgnoreVerdict {
        guard isDirectory, lists.first?.kind == .include else { return .leaveOut(match) }
        let slashes = path.count { $0 == Byte.slash } + 1
        let canMatch = lists.prefix { $0.kind == .include }.contains {
            $0.canMatch(below: path, slashes: slashes)
        }
        guard canMatch else { return .leaveOut(match) }
        return .descend(match)
    }

    private func firstMatch(
        _ start: Int, _ name: UnsafeBufferPointer<UInt8>, _ path: UnsafeBufferPointer<UInt8>,
        _ isDirectory: Bool
    ) -> (Int, IgnoreMatch)? {
        var position = start
        while position < lists.count {
            let index = lists[position].match(
                name: name, path: path, isDirectory: isDirectory, active: active[position])
            if index >= 0 {
                return (position, IgnoreMatch(list: lists[position], index: index))
            }
            position += 1
        }
        return nil
    }
}
