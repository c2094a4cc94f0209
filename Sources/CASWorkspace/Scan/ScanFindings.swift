import CASCore
import CASTree

/// An entry that a scan leaves out.
package struct SkippedEntry: Sendable {
    /// Why it is left out.
    package enum Reason: Sendable {
        /// A rule says so.
        case rule(IgnoreMatch)
        /// A socket, a device or a pipe: nothing that a tree can hold.
        case special
    }

    /// Its path below the root of the scan.
    package let path: [UInt8]
    /// Whether everything below it is left out with it.
    package let isDirectory: Bool
    /// Why.
    package let reason: Reason

    /// Its path for a person.
    package var text: String { PathText.printable(path) + (isDirectory ? "/" : "") }
}

/// How much one rule left out.
package struct SkippedCount: Sendable {
    /// The rule; nil for sockets, devices and pipes.
    package let rule: IgnoreMatch?
    /// Entries it left out; what lies below a directory is not counted.
    package var count: Int
    /// The first of them.
    package var example: String
}

/// Something that could not be read.
package struct ScanProblem: Sendable {
    /// The path below the root of the scan.
    package let path: [UInt8]
    /// What failed.
    package let error: any Error

    /// Its path for a person.
    package var text: String { PathText.printable(path) }
}

/// Something in the workspace that its owner should know.
package enum ScanFinding: Sendable {
    /// A symbolic link to something outside the workspace: elsewhere it points at nothing, or at
    /// something else.
    case linkLeaves(path: [UInt8], target: [UInt8])
    /// Names of one directory that are one name where case does not count.
    case sameIgnoringCase(directory: [UInt8], names: [[UInt8]])
    /// A file that looks like a secret and that git does not track.
    case secret(path: [UInt8])

    /// The path that it is about, for sorting.
    package var path: [UInt8] {
        switch self {
        case .linkLeaves(let path, _), .secret(let path): path
        case .sameIgnoringCase(let directory, let names):
            directory + (directory.isEmpty ? [] : [Byte.slash]) + (names.first ?? [])
        }
    }

    /// One line for a person.
    package var text: String {
        switch self {
        case .linkLeaves(let path, let target):
            return "\(PathText.printable(path)) -> \(PathText.printable(target))"
        case .sameIgnoringCase(let directory, let names):
            let place = directory.isEmpty ? "" : PathText.printable(directory) + "/"
            return names.map { place + PathText.printable($0) }.joined(separator: ", ")
        case .secret(let path): return PathText.printable(path)
        }
    }
}

/// Names that look like secrets.
enum SecretNames {
    private static let lines = [
        ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore",
        "*.ppk", "*.kdbx", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk",
        "id_ed25519_sk", ".npmrc", ".pypirc", ".netrc", "_netrc", ".pgpass", ".htpasswd",
        ".git-credentials", ".dockercfg", "credentials*", "kubeconfig", "kubeconfig.*",
        "service-account*.json", "service_account*.json", "client_secret*.json",
        "application_default_credentials.json", ".vault-token", ".kaggle.json", "kaggle.json",
        "!.env.example", "!.env.sample", "!.env.template", "!.env.dist", "!.env.defaults",
        // Published certificates of authorities, and source code that deals with credentials.
        "!cacert.pem", "!credentials*.py", "!credentials*.py[cio]", "!credentials*.so",
        "!credentials*.[jt]s", "!credentials*.[jt]sx", "!credentials*.go", "!credentials*.rs",
        "!credentials*.java", "!credentials*.rb", "!credentials*.h", "!credentials*.md",
        "!credentials*.rst", "!credentials*.html",
    ]

    private static let list = IgnoreList(
        kind: .defaults, source: "secrets", base: [],
        patterns: lines.enumerated().compactMap {
            IgnorePattern(line: $0.element.utf8, number: $0.offset + 1)
        })

    /// Whether a file of that name deserves a word before it is pushed.
    static func matches(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
        let index = list.match(name: name, path: name, isDirectory: false, active: [])
        return index >= 0 && !list.patterns[index].isNegated
    }
}

/// Where symbolic links lead, by their text alone.
enum LinkTarget {
    /// Whether a link in a directory `depth` levels below the root leads out of it.
    static func leaves(_ target: [UInt8], depth: Int) -> Bool {
        if target.first == Byte.slash { return true }
        var level = depth
        for part in target.split(separator: Byte.slash) {
            if part.elementsEqual([Byte.dot, Byte.dot]) {
                level -= 1
                if level < 0 { return true }
            } else if !part.elementsEqual([Byte.dot]) {
                level += 1
            }
        }
        return false
    }
}

/// Names that are one name on a file system that does not tell upper from lower case.
enum CaseFolding {
    /// Groups of such names among those of one directory.
    static func collisions(_ names: [[UInt8]]) -> [[[UInt8]]] {
        var groups: [String: [[UInt8]]] = [:]
        for name in names {
            // Invalid bytes all fold to U+FFFD; the escaped form keeps them apart. A String's equality
            // is Unicode's canonical equivalence, which is what such file systems compare by.
            groups[String(decoding: WireText.encode(name), as: UTF8.self).lowercased(), default: []]
                .append(name)
        }
        return groups.values.filter { $0.count > 1 }.sorted { ByteOrder.precedes($0[0], $1[0]) }
    }

    /// Whether a directory with this name in it can hold two names that fold to one.
    @inline(__always)
    static func isFoldable(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
        name.contains { $0 >= 0x80 || ($0 >= 0x41 && $0 <= 0x5a) }
    }
}
