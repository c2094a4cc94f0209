import CASFileSystem
import Foundation
import Testing

/// `cas copy` and `cas fetch` of what a registry carries, with the registry of cas; others are in
/// ops/interop/test_carrier.
@Suite(.timeLimit(.minutes(10))) struct CarrierCommandTests {
    @Test func `into a registry, and back`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let host = try fixture.serve("--store served").dropFirst("http://".count)
        let image = "oci://\(host)/team/carried:v1"
        try fixture.cas(
            "push work --to team/project --message first --image-option prefix=/opt/app")
        try fixture.cas("copy team/project \(image)")
        try fixture.cas("copy team/project \(image)")
        try fixture.cas("fetch \(image) copy")
        try fixture.cas("verify team/project copy")
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.cas("push work --to team/project")
        try fixture.cas("copy team/project \(image)")
        try fixture.cas("fetch \(image) copy")
        try fixture.cas("verify team/project copy")
        try fixture.cas("copy \(image) team/back --store other")
        try fixture.cas("log team/back --store other")
        try fixture.cas("fetch team/back back --store other")
        #expect(try fixture.read("back/model.py") == "answer = 43\n")
        try fixture.cas("fetch oci://\(host)/team/carried:absent none")
        _ = try fixture.run(["push", "work", "--to", "team/plain", "--server", "http://\(host)"])
        try fixture.cas("fetch oci://\(host)/team/plain none")
        #expect(try DiskFileSystem().status(fixture.path("none/model.py")) == nil)
        #expect(try fixture.stopServer() == 0)
        try Snapshot.check(fixture, "carrier")
    }

    @Test func `what is not carried so`() throws {
        let fixture = try CommandLineFixture()
        for words in [
            "copy oci://a.example/x oci://b.example/x",
            "copy p oci://a.example/x@sha256:\(String(repeating: "0", count: 64))",
            "copy p oci://x", "copy p oci://a.example/X", "copy p a.example/x --compression gzip",
            "copy oci://a.example/x p --compression gzip",
            "copy p oci://a.example/x --compression x",
            "copy oci://a.example/x sha256:\(String(repeating: "0", count: 64))",
            "fetch --follow oci://a.example/x copy", "fetch oci://a.example/x copy --store s",
            "fetch p copy --plain-http a.example",
        ] { try fixture.cas(words) }
        try Snapshot.check(fixture, "carrier-refusals")
    }
}
