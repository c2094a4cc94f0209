import CASClient
import CASCore
import CASServer
import CASTestSupport
import Foundation
import Testing

@Suite struct TLSTests {
    /// Makes a certificate for some names that nobody signed but itself.
    private static func certify(
        _ directory: String, names: String = "DNS:localhost,IP:127.0.0.1"
    ) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=\(names)", "-keyout", "\(directory)/key.pem", "-out",
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

    @Test(arguments: [
        ("DNS:elsewhere.example,IP:127.0.0.1", "localhost", false),
        ("DNS:elsewhere.example,IP:127.0.0.1", "127.0.0.1", true),
        ("IP:127.0.0.1", "localhost", false),
        ("DNS:LocalHost", "localhost", true),
        ("DNS:localhost", "127.0.0.1", false),
    ])
    func `a certificate counts for its names, and for its addresses only where one was asked for`(
        names: String, host: String, isAccepted: Bool
    ) async throws {
        try await onThread {
            let world = try ServerWorld { configuration, temporary in
                try Self.certify(temporary.path, names: names)
                configuration.certificatePath = "\(temporary.path)/certificate.pem"
                configuration.keyPath = "\(temporary.path)/key.pem"
            }
            var access = ServerAccess(address: "https://\(host):\(world.port)")
            access.certificatesPath = "\(world.temporary.path)/certificate.pem"
            let store = try RemoteStore(access)
            let result = Result { try store.describe() }
            try store.close()
            switch result {
            case .success: #expect(isAccepted, "\(names) was accepted for \(host)")
            case .failure(let error as CASError):
                #expect(!isAccepted, "\(error)")
                #expect(error.message.contains("is for another name"), "\(error)")
            case .failure(let error): throw error
            }
        }
    }

    @Test func `a server with TLS that is asked without it is told from one that is gone`()
        async throws
    {
        try await onThread {
            let world = try ServerWorld { configuration, temporary in
                try Self.certify(temporary.path)
                configuration.certificatePath = "\(temporary.path)/certificate.pem"
                configuration.keyPath = "\(temporary.path)/key.pem"
            }
            let store = try RemoteStore(ServerAccess(address: world.loopbackAddress))
            let result = Result { try store.describe() }
            try store.close()
            let error = failure(result)
            #expect(error?.hint?.contains("https://") == true, "\(String(describing: error))")
            // Nobody listens there; a port that was just given up another test may get.
            let gone = try RemoteStore(ServerAccess(address: "http://127.0.0.1:1"))
            let second = Result { try gone.describe() }
            try gone.close()
            let refused = failure(second)
            #expect(refused?.message.hasSuffix("connection refused") == true)
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
