import CASCore
import CASServer
import Testing

@Suite struct ConfigurationTests {
    private func configuration(_ listen: String) throws -> ServerConfiguration {
        var configuration = ServerConfiguration(storeDirectory: "/nowhere", threads: 4)
        try configuration.setListen(listen)
        return configuration
    }

    @Test(arguments: [
        ("127.0.0.1:8700", "127.0.0.1", 8700, true), ("localhost:1", "localhost", 1, true),
        ("[::1]:9", "::1", 9, true), (":80", "0.0.0.0", 80, false),
        ("0.0.0.0:0", "0.0.0.0", 0, false), ("cas.example:443", "cas.example", 443, false),
        ("127.9.9.9:8700", "127.9.9.9", 8700, true),
        ("127.0.0.1.example:1", "127.0.0.1.example", 1, false),
    ])
    func `an address to listen on is parsed`(
        text: String, host: String, port: Int, isLoopback: Bool
    ) throws {
        let parsed = try configuration(text)
        #expect(parsed.host == host)
        #expect(parsed.port == port)
        #expect(parsed.isLoopback == isLoopback)
    }

    @Test(arguments: [
        "127.0.0.1:x", "127.0.0.1:70000", "[::1]x", "", "::1", "[::1", "127.0.0.1:",
        "127.0.0.1:+80", "foo", "127.9.9.9", "[::1]",
        "a:b:1",
    ])
    func `a wrong address says how it is written`(text: String) throws {
        let error = #expect(throws: CASError.self) { try configuration(text) }
        #expect(error?.code == .invalidArgument)
    }

    @Test func `another address needs TLS or an explicit word`() throws {
        var open = try configuration("0.0.0.0:8700")
        #expect(throws: CASError.self) { try open.check() }
        open.isPlaintext = true
        try open.check()
        open.certificatePath = "cert.pem"
        #expect(throws: CASError.self) { try open.check() }
        open.keyPath = "key.pem"
        #expect(throws: CASError.self) { try open.check() }
        open.isPlaintext = false
        try open.check()
        try configuration("127.0.0.1:8700").check()
    }
}
