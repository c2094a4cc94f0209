import CASFileSystem
import Foundation
import Glibc
import Testing

/// What stands between a command and a server: names, proxies and TLS, and what is said of them.
@Suite(.timeLimit(.minutes(10))) struct ConnectionTests {
    /// A certificate and its key below the fixture's root.
    private static func certify(_ fixture: CommandLineFixture, names: String) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=cas", "-addext", "subjectAltName=\(names)",
            "-keyout", fixture.path("key.pem"), "-out", fixture.path("certificate.pem"),
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "this test needs the command openssl")
    }

    @Test func `an error of a connection says in plain words what is wrong`() throws {
        let fixture = try CommandLineFixture()
        try Self.certify(fixture, names: "IP:127.0.0.1")
        let plain = try fixture.serve("--store plain").split(separator: ":").last ?? ""
        let secure =
            try fixture.serve(
                "--store secure --tls-certificate certificate.pem --tls-key key.pem"
            ).split(separator: ":").last ?? ""
        let trusting = ["CAS_CA_FILE": fixture.path("certificate.pem")]
        try fixture.cas("ls --server https://127.0.0.1:\(plain)")
        try fixture.cas("ls --server https://127.0.0.1:\(secure)")
        try fixture.cas("ls --server https://localhost:\(secure)", environment: trusting)
        let good = try fixture.run(
            ["ls", "--server", "https://127.0.0.1:\(secure)"], environment: trusting)
        #expect(good.status == 0, "\(good.errors)")
        try fixture.cas(
            "ls --server https://127.0.0.1:\(secure)", environment: ["CAS_CA_FILE": "key.pem"])
        for line in fixture.transcript {
            for word in ["errno", "NIO", "Error", "BoringSSL", "swift", "set)"] {
                #expect(!line.contains(word), "\(line)")
            }
        }
        try Snapshot.check(fixture, "connections")
    }
}
