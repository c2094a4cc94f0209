import CASCore
import CASFileSystem
import CASTestSupport
import FuzzTargets

@testable import cas

/// Texts that people write: settings files, credentials, addresses.
enum SettingsTargets {
    static let all: [FuzzTarget] = [
        FuzzTarget(
            "settings",
            [
                "to: team/x\nexclude:\n  - '*.csv'\n  - \"a\\tb\"\nlimit: 2GiB\n",
                "{a: [b, {c: d}]}\n", "e: |\n  text\n", "",
            ].map { Array($0.utf8) }
        ) { bytes in
            let text = try YAMLText.parse(bytes, path: "cas.yaml")
            // Without aliases a byte makes at most a mapping with a key and a value.
            try require(count(text) <= 3 * bytes.count + 3, "more values than bytes")
        },
        FuzzTarget("file-credentials", [Array("a.example:443 cas_1_2\n# x\n\nb cas_3_4\r\n".utf8)])
        {
            bytes in
            guard let scratch else { throw FuzzFailure("no place for files") }
            let directory = try DirectoryHandle(path: scratch.path)
            let name = Array("credentials".utf8)
            if try directory.status(name) != nil { try directory.removeFile(name) }
            let file = try directory.createFile(name, permissions: 0o600)
            try bytes.withUnsafeBytes { try file.write($0) }
            let credentials = try Credentials(path: scratch.path + "/credentials")
            for host in credentials.hosts {
                try require(credentials.token(for: host)?.isEmpty == false, "no token for \(host)")
            }
        },
        .text(
            "server-address",
            ["http://127.0.0.1:8700", "https://cas.example.com/a/b/", "https://[::1]:1"],
            parse: { try ServerAddress($0) }, print: \.url),
    ]

    private static let scratch = try? TemporaryDirectory("cas-fuzz-")

    private static func count(_ text: YAMLText) -> Int {
        switch text {
        case .scalar: 1
        case .sequence(let values): values.reduce(1) { $0 + count($1) }
        case .mapping(let entries): entries.reduce(1) { $0 + 1 + count($1.value) }
        }
    }
}
