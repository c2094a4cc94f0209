import CASClient
import CASCore
import CASServer
import CASTestSupport
import CASTree
import CASWire
import Foundation
import Testing

/// What the first programs of a protocol version said to each other, replayed against today's server.
@Suite(.timeLimit(.minutes(10))) struct ExchangeTests {
    private struct Step {
        let title: String
        var request: [UInt8] = []
        var status = 0
        var type: String?
        var body: [UInt8] = []
    }

    private static func steps(_ name: String) throws -> [Step] {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: name)
        var steps: [Step] = []
        var isAnswer = false
        for line in try String(contentsOf: url, encoding: .utf8).split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            switch words[0] {
            case "#": continue
            case "request":
                steps.append(Step(title: words.dropFirst().joined(separator: " ")))
                isAnswer = false
            case "answer":
                steps[steps.count - 1].status = try #require(Int(words[1]))
                steps[steps.count - 1].type = words.count > 2 ? words[2] : nil
                isAnswer = true
            default:
                let bytes = try #require(Hexadecimal.decode(words[0]))
                if isAnswer {
                    steps[steps.count - 1].body += bytes
                } else {
                    steps[steps.count - 1].request += bytes
                }
            }
        }
        return steps
    }

    @Test func `a client of version 1 gets the answers that it got then`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let steps = try ExchangeTests.steps("exchange-1.txt")
            #expect(steps.count == 18)
            let connection = try world.raw()
            for step in steps {
                try connection.send(step.request)
                let answer = try connection.answer()
                let comment: Comment = "\(step.title)"
                #expect(answer.status == step.status, comment)
                #expect(answer.headers["content-type"] == step.type, comment)
                guard step.title != "GET /v1" else {
                    // The name of the store and its clock are its own.
                    let then = try StoreDescription(decoding: step.body)
                    let now = try StoreDescription(decoding: answer.body)
                    #expect(now.chunkerAverageBytes == then.chunkerAverageBytes)
                    #expect(now.chunkerSeed == then.chunkerSeed && now.scopes == then.scopes)
                    #expect(now.protocolVersion >= then.protocolVersion)
                    continue
                }
                #expect(answer.body == step.body, comment)
            }
            try world.withRemote { store in
                let entry = try #require(try store.ref(try RefName("team/project:v1")))
                #expect(entry.totals?.files == 3 && entry.totals?.bytes == 2_450_012)
                try world.fetch("team/project:v1", store)
                #expect(try world.differences("team/project:v1", store).isEmpty)
            }
        }
    }

    @Test func `sides that have no version in common say which to upgrade`() async throws {
        try await onThread {
            let world = try ServerWorld()
            for (version, hint) in [
                (ProtocolVersions(oldest: 2, newest: 3), "upgrade the server"),
                (ProtocolVersions(oldest: 0, newest: 0), "upgrade the client (cas)"),
            ] {
                let store = try RemoteStore(
                    ServerAccess(address: world.address), versions: version)
                defer { #expect(throws: Never.self) { try store.close() } }
                for call in [{ _ = try store.describe() }, { _ = try store.usage() }] {
                    let error = #expect(throws: CASError.self) { try call() }
                    #expect(error?.code == .failedPrecondition)
                    #expect(error?.message.contains("version \(version) of the protocol") == true)
                    #expect(error?.hint?.hasPrefix(hint) == true, "\(error?.hint ?? "")")
                }
            }
            // One that speaks a newer version beside this one goes on.
            let both = try RemoteStore(
                ServerAccess(address: world.address),
                versions: ProtocolVersions(oldest: 1, newest: 2))
            #expect(try both.describe().protocolVersion == WireProtocol.version)
            try both.close()
            let raw = try world.raw()
            let refused = try raw.request("GET", "/v1", headers: ["cas-protocol": "7"])
            #expect(refused.status == 412)
            #expect(refused.headers["cas-protocol"] == "1")
            #expect(refused.text.contains("hint: upgrade the server"))
            #expect(try raw.request("GET", "/v1", headers: ["cas-protocol": "1-9"]).status == 200)
            #expect(
                try raw.request("GET", "/healthz", headers: ["cas-protocol": "7"]).status == 200)
        }
    }
}
