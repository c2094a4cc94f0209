import Foundation
import Testing

/// Rules of the repository that no compiler checks: which module may import which, where IO and
/// printing may stand, and how long a file may grow.
@Suite struct TidyTests {
    /// The root of the checkout: this file is `Tests/TidyTests/TidyTests.swift`.
    private static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// Our modules in order: a module imports only modules listed above it (DESIGN.md, section 7).
    private static let layers = [
        "CASCore", "CASChunking", "CASCompression", "CASTree", "CASPack", "CASOCI",
        "CASWire", "CASFileSystem", "CASStorage", "CASCatalog", "CASRepository", "CASWorkspace",
        "CASHTTP", "CASRegistry", "CASClient", "CASImage", "CASKubernetes", "CASServer", "cas",
    ]

    /// Modules from elsewhere and C, and who may import them; what is not listed nobody may.
    private static let outside: [String: Set<String>] = [
        "CCrypto": ["CASCore"],
        "CShims": ["CASCore", "CASFileSystem"],
        "CZstd": ["CASCompression"],
        "CZlib": ["CASCompression"],
        "SystemPackage": ["CASFileSystem"],
        "GRDB": ["CASCatalog"],
        "SQLite3": [],
        "GRDBSQLite": ["CASCatalog"],
        "Hummingbird": ["CASHTTP", "CASRegistry", "CASServer"],
        "HummingbirdCore": ["CASHTTP", "CASServer"],
        "HummingbirdTLS": ["CASServer"],
        "HTTPTypes": ["CASHTTP", "CASRegistry", "CASServer"],
        "Logging": ["CASHTTP", "CASRegistry", "CASServer", "cas"],
        "NIOCore": ["CASHTTP", "CASRegistry", "CASClient", "CASServer"],
        "NIOPosix": ["CASHTTP", "CASClient", "CASServer"],
        "NIOHTTPTypes": ["CASHTTP", "CASServer"],
        "NIOHTTP1": ["CASHTTP", "CASClient", "CASServer"],
        "NIOSSL": ["CASClient", "CASServer"],
        "NIOConcurrencyHelpers": ["CASHTTP", "CASClient", "CASServer"],
        "AsyncHTTPClient": ["CASClient", "CASServer"],
        "JWTKit": ["CASServer"],
        "ServiceLifecycle": ["CASServer"],
        "UnixSignals": ["CASServer"],
        "ArgumentParser": ["cas"],
        "Yams": ["CASKubernetes", "cas"],
        "Foundation": ["CASCatalog", "CASServer", "CASClient", "CASHTTP", "cas"],
        "FoundationEssentials": ["CASCatalog", "CASServer", "CASClient", "CASHTTP", "cas"],
        "Glibc": ["CASFileSystem", "CASServer", "CASClient", "cas"],
        "Synchronization": Set(layers),
        "Dispatch": ["CASCatalog", "CASServer", "CASClient", "cas"],
    ]

    private struct SourceFile {
        let module: String
        let path: String
        let lines: [Substring]
    }

    private static func sources(_ folder: String = "Sources") throws -> [SourceFile] {
        let base = root.appending(path: folder)
        let walker = FileManager.default.enumerator(atPath: base.path)
        var found: [SourceFile] = []
        while let path = walker?.nextObject() as? String {
            guard path.hasSuffix(".swift") else { continue }
            let text = try String(contentsOf: base.appending(path: path), encoding: .utf8)
            found.append(
                SourceFile(
                    module: String(path.split(separator: "/")[0]), path: "\(folder)/\(path)",
                    lines: text.split(separator: "\n", omittingEmptySubsequences: false)))
        }
        #expect(found.count > 20, "the walk found no sources: the test itself is broken")
        return found
    }

    private static func importedModule(_ line: Substring) -> String? {
        var words = line.split(separator: " ").filter { !$0.hasPrefix("@") }
        if let first = words.first,
            ["package", "public", "internal", "private", "fileprivate"].contains(first)
        {
            words.removeFirst()
        }
        guard words.count >= 2, words[0] == "import" else { return nil }
        let kinds: Set<Substring> = [
            "struct", "class", "enum", "func", "protocol", "typealias", "var",
        ]
        let name = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
        return String(name.prefix { $0 != "." })
    }

    /// Lines outside of texts of several lines, which may hold programs in other languages.
    private static func code(_ file: SourceFile) -> [Substring] {
        var isText = false
        return file.lines.map { line in
            let wasText = isText
            if line.ranges(of: "\"\"\"").count % 2 == 1 { isText.toggle() }
            return wasText ? "" : line
        }
    }

    @Test func `a module imports only what the table allows`() throws {
        for file in try Self.sources() {
            let rank = try #require(
                Self.layers.firstIndex(of: file.module), "\(file.path): unknown module")
            for name in Self.code(file).compactMap(Self.importedModule) {
                if let other = Self.layers.firstIndex(of: name) {
                    #expect(other < rank, "\(file.path) imports \(name), which is not above it")
                } else {
                    let allowed = Self.outside[name]?.contains(file.module) ?? false
                    #expect(allowed, "\(file.path) imports \(name)")
                }
            }
        }
    }

    @Test func `only cas prints`() throws {
        for file in try Self.sources() where file.module != "cas" {
            for (number, line) in Self.code(file).enumerated() {
                let code = line.prefix { $0 != "\"" }
                #expect(
                    !code.contains(/(^|[^.\w])(print|debugPrint|dump)\(/),
                    "\(file.path):\(number + 1) prints")
            }
        }
    }

    @Test func `files and lines stay short`() throws {
        for file in try Self.sources() + Self.sources("Tests") {
            #expect(file.lines.count <= 420, "\(file.path) has \(file.lines.count) lines")
        }
    }

    @Test func `every exception from the concurrency rules is explained`() throws {
        for file in try Self.sources() {
            let text = file.lines.joined(separator: "\n")
            guard
                text.contains(
                    /@unchecked Sendable *[{,]|nonisolated\(unsafe\)|: @unchecked Sendable/)
            else {
                continue
            }
            #expect(
                text.contains(
                    /\/\/.*(@unchecked|unchecked Sendable|nonisolated|thread|lock|Sendable)/),
                "\(file.path) leaves the concurrency rules without saying why")
        }
    }

    @Test func `nothing swallows an error or traps on input`() throws {
        for file in try Self.sources() {
            for (number, line) in file.lines.enumerated() {
                let code = line.split(
                    separator: "//", maxSplits: 1, omittingEmptySubsequences: false)[0]
                #expect(!code.contains("try!"), "\(file.path):\(number + 1)")
                #expect(!code.contains("fatalError("), "\(file.path):\(number + 1)")
            }
        }
    }

    @Test func `every page that a comment names is there`() throws {
        var pages: Set = ["README.md", "CHANGELOG.md"]
        for folder in ["Sources", "Tests", "ops", "Benchmarks"] {
            let walker = FileManager.default.enumerator(
                atPath: Self.root.appending(path: folder).path)
            while let path = walker?.nextObject() as? String {
                if path.hasSuffix(".md") { pages.insert("\(folder)/\(path)") }
            }
        }
        let names = Set(pages.map { String($0.split(separator: "/").last ?? "") })
        // The design and the notes that came before the code, by name only.
        let elsewhere: Set = ["DESIGN.md", "swift-measurements.md"]
        for file in try Self.sources() + Self.sources("Tests") {
            for (number, line) in file.lines.enumerated() {
                for match in line.matches(of: /[A-Za-z0-9_\/.\-]+\.md/) {
                    let name = String(match.0)
                    let isThere =
                        name.contains("/") ? pages.contains(name) : names.contains(name)
                    #expect(
                        isThere || elsewhere.contains(name),
                        "\(file.path):\(number + 1) names \(name)")
                }
            }
        }
    }

    @Test func `the architecture page stays under 200 lines and names every module`() throws {
        let text = try String(
            contentsOf: Self.root.appending(path: "Sources/ARCHITECTURE.md"), encoding: .utf8)
        #expect(text.split(separator: "\n", omittingEmptySubsequences: false).count < 200)
        for module in Self.layers {
            #expect(text.contains(module), "Sources/ARCHITECTURE.md does not mention \(module)")
        }
    }
}
