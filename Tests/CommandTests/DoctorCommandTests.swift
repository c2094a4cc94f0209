import CASFileSystem
import Foundation
import Testing

/// What `cas doctor` says of a store and of who asks.
@Suite(.timeLimit(.minutes(10))) struct DoctorCommandTests {
    private func words(_ line: String) -> [String] { line.split(separator: " ").map(String.init) }

    /// Flips a bit in every pack of a store that holds a text.
    private func damage(_ text: String, _ fixture: CommandLineFixture) throws {
        for name in try DiskFileSystem().list(fixture.path("store/packs")) {
            let url = URL(fileURLWithPath: fixture.path("store/packs/\(name)"))
            var bytes = try Data(contentsOf: url)
            guard let range = bytes.firstRange(of: Data(text.utf8)) else { continue }
            bytes[range.lowerBound] ^= 1
            try DiskFileSystem().remove(url.path)
            try bytes.write(to: url)
        }
    }

    @Test func `of a store, what was done for it and what that found`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        #expect(try fixture.run(words("push work --to team/project --store store")).status == 0)
        try fixture.cas("doctor --store store")
        #expect(try fixture.run(words("gc --store store")).status == 0)
        #expect(try fixture.run(words("scrub --store store")).status == 0)
        try fixture.cas("doctor --store store")
        try damage("answer = 42", fixture)
        #expect(try fixture.run(words("scrub --store store")).status == 2)
        try fixture.cas("doctor --store store")
        try fixture.cas("doctor --store store --json")
        try Snapshot.check(fixture, "doctor-store")
    }

    @Test func `of a server the same, and which token is used`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let made = try fixture.run(words("token create ann --scope admin --store store"))
        let token = made.output.trimmingCharacters(in: .newlines)
        let other = try fixture.run(words("token create bob --scope write:team --store store"))
        let address = try fixture.serve("--store store --listen 0.0.0.0:0 --plaintext")
            .replacingOccurrences(of: "0.0.0.0", with: "127.0.0.1")
        let ann = ["CAS_SERVER": address, "CAS_TOKEN": token]
        #expect(try fixture.run(words("push work --to team/project"), environment: ann).status == 0)
        #expect(try fixture.run(words("gc"), environment: ann).status == 0)
        #expect(try fixture.run(words("scrub"), environment: ann).status == 0)
        let told = try fixture.run(["doctor"], environment: ann)
        #expect(told.status == 0, "\(told.output)")
        let host = address.dropFirst("http://".count)
        for text in [
            "credentials  CAS_TOKEN for \(host)\n", "free on the server's disk\n",
            "collection   the last one ended 2", "scrub        the last one ended 2",
            "with no findings\n",
        ] { #expect(told.output.contains(text), "\(text): \(told.output)") }
        let json = try fixture.run(["doctor", "--json"], environment: ann)
        for key in ["freeBytes", "reserveBytes", "lastEnded", "roundBytes", "gaps"] {
            #expect(json.output.contains("\"\(key)\": "), "\(key): \(json.output)")
        }
        let bob = [
            "CAS_SERVER": address,
            "CAS_TOKEN": other.output.trimmingCharacters(in: .newlines),
        ]
        let less = try fixture.run(["doctor"], environment: bob)
        #expect(less.status == 0 && !less.output.contains("scrub"), "\(less.output)")
        let nowhere = try fixture.run(["doctor"], environment: ["CAS_TOKEN": token])
        #expect(
            nowhere.output.contains("CAS_TOKEN, which goes nowhere as CAS_SERVER is not set"),
            "\(nowhere.output)")
        #expect(try fixture.stopServer() == 0)
    }
}
