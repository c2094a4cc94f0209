import CASClient
import CASCore
import CASServer
import CASTestSupport
import Foundation
import Testing

@Suite struct TLSTests {
    /// Makes a certificate for localhost that nobody signed but itself.
    private static func certify(_ directory: String) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "\(directory)/key.pem", "-out",
            "\(directory)/certificate.pem",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw CASError(.failedPrecondition, "this test needs the command openssl")
        }
    }

    @Test func `a store behind TLS takes a push, and only who trusts it gives one`() async throws {
        try await onThread {
            let world = try ServerWorld { configuration, temporary in
                try Self.certify(temporary.path)
                configuration.certificatePath = "\(temporary.path)/certificate.pem"
                configuration.keyPath = "\(temporary.path)/key.pem"
            }
            #expect(world.address.hasPrefix("https://"))
            try world.write("a.txt", content(seed: 9, count: 2_000_000))
            let certificates = "\(world.temporary.path)/certificate.pem"
            try world.withRemote(certificates: certificates) { store in
                try world.push("team/project", store)
                try world.fetch("team/project", store)
                #expect(try world.differences("team/project", store) == [])
            }
            do {
                try world.withRemote { _ = try $0.describe() }
                Issue.record("a certificate that nobody trusts was accepted")
            } catch let error as CASError {
                #expect(error.code == .failedPrecondition)
                #expect(error.hint?.contains("CAS_CA_FILE") == true)
            }
        }
    }

    @Test func `a key that does not belong to the certificate is named`() async throws {
        try await onThread {
            let first = try TemporaryDirectory()
            let second = try TemporaryDirectory()
            try Self.certify(first.path)
            try Self.certify(second.path)
            var configuration = ServerConfiguration(
                storeDirectory: first.path + "/store", threads: 4)
            configuration.certificatePath = first.path + "/certificate.pem"
            configuration.keyPath = second.path + "/key.pem"
            #expect(code { _ = try Server.start(configuration) } == .invalidArgument)
        }
    }
}
