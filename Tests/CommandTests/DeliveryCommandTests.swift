import CASFileSystem
import Foundation
import Testing

/// `run --dir`, `publish`, `warm`, and what they say of a server that is away.
@Suite(.timeLimit(.minutes(10))) struct DeliveryCommandTests {
    @Test func `run in a directory of one's own`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to p")
        try fixture.cas(
            "run --dir pod -- ./run.sh --epochs 3", environment: ["CAS_REF": "p"])
        try fixture.write("pod/model.py", "answer = my own\n")
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.cas("push work --to p")
        try fixture.cas("run p --dir pod -- cat model.py")
        #expect(try fixture.read("pod/model.py") == "answer = my own\n")
        try fixture.cas("run -- cat model.py")
        try fixture.cas("run -- cat model.py", environment: ["CAS_REF": "p"])
        try Snapshot.check(fixture, "run-dir")
    }

    @Test func `a server that is away is waited for, and a digest that is gone is not`() throws {
        let fixture = try CommandLineFixture()
        let away = ["CAS_SERVER": "http://127.0.0.1:9"]
        try fixture.cas("fetch p pod --wait 1s", environment: away)
        try fixture.cas(
            "run p --dir pod -- true", environment: away.merging(["CAS_WAIT": "1s"]) { $1 })
        try fixture.cas("fetch p pod --wait 0s", environment: away)
        try fixture.cas(
            "fetch p pod --wait 0s --server http://no-such-host.invalid:1")
        try fixture.cas("fetch p pod --wait soon")
        try fixture.cas("fetch p pod", environment: away.merging(["CAS_WAIT": "soon"]) { $1 })
        let address = try fixture.serve("--store store")
        let digest = String(repeating: "ab", count: 32)
        try fixture.cas("fetch p@sha256:\(digest) pod --server \(address)")
        try fixture.cas("run sha256:\(digest) --dir pod --server \(address) -- true")
        #expect(try DiskFileSystem().status(fixture.path("pod")) == nil)
        try Snapshot.check(fixture, "away")
    }

    @Test func `publish versions, and retire them`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to team/project")
        try fixture.cas("publish team/project share --dry-run")
        try fixture.cas("publish team/project share")
        try fixture.cas("publish team/project share")
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.cas("push work --to team/project")
        try fixture.cas("publish team/project share")
        #expect(try fixture.read("share/current/model.py") == "answer = 43\n")
        try fixture.cas("publish team/project share --grace 0s --dry-run")
        try fixture.cas("publish team/project share --grace 0s --json")
        try fixture.cas("publish team/project work")
        // Not in the snapshot: the order of names depends on the digest.
        let fetch = try fixture.run(["fetch", "team/project", "share"])
        #expect(fetch.status == 1)
        #expect(fetch.errors.contains("was not made by cas fetch"), "\(fetch.errors)")
        try fixture.cas("publish team/project share --grace never")
        try Snapshot.check(fixture, "publish")
    }

    @Test func `warm a cache and a server`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let address = try fixture.serve("--store first")
        let from = ["CAS_SERVER": address]
        try fixture.cas("push work --to p", environment: from)
        try fixture.cas("warm p --cache cache", environment: from)
        try fixture.cas("warm p --cache cache", environment: from)
        try fixture.cas("fetch p copy --cache cache", environment: from)
        try fixture.cas("warm p --from \(address) --store second")
        try fixture.cas("warm p --from \(address) --store second --json")
        try fixture.cas("verify p copy --store second")
        try fixture.cas("warm p", environment: from)
        try Snapshot.check(fixture, "warm")
    }
}
