import Foundation
import Testing

/// Refs that name images, in the commands about refs.
@Suite(.timeLimit(.minutes(10))) struct ImageRefCommandTests {
    private let epoch = ["SOURCE_DATE_EPOCH": "1700000000"]

    /// A workspace, and two images of it that share a layer.
    private func prepare(_ fixture: CommandLineFixture) throws {
        try fixture.writeProject()
        _ = try fixture.run(["push", "work", "--to", "team/train"])
        try fixture.write("code/train.py", "print('train')\n")
        _ = try fixture.run(["push", "code", "--to", "team/code"])
        let more: [(tag: String, words: [String])] = [
            ("v1", []), ("v2", ["--workspace", "team/code=/code"]),
        ]
        for (tag, words) in more {
            let result = try fixture.run(
                [
                    "image", "build", "--base", "scratch", "--platform", "linux/amd64",
                    "--workspace", "team/train=/data",
                ] + words + ["--to", "team/app:\(tag)"], environment: epoch)
            #expect(result.status == 0, "\(result.errors)")
        }
    }

    /// The digest of the first part of an image with a role.
    private func digest(
        _ fixture: CommandLineFixture, _ reference: String, _ role: String
    ) throws -> String {
        let output = try fixture.run(["ls", reference, "--json"]).output
        let document = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any]
        let parts = try #require(document?["parts"] as? [[String: Any]])
        let part = try #require(parts.first { $0["role"] as? String == role })
        return try #require(part["digest"] as? String)
    }

    @Test func `what an image is made of, what keeps that, and how images differ`() throws {
        let fixture = try CommandLineFixture()
        try prepare(fixture)
        try fixture.cas("ls")
        try fixture.cas("ls team/app:v1")
        try fixture.cas("ls team/app:v1 --json")
        try fixture.cas("ls team/app:v1 src")
        try fixture.cas("diff team/app:v1 team/app:v2")
        try fixture.cas("diff team/app:v1 team/app:v2 --json")
        try fixture.cas("diff team/app:v1 team/app:v1")
        try fixture.cas("diff team/app:v1 team/train")
        try fixture.cas("diff team/app:v1 team/absent")
        try fixture.cas("fetch team/app:v1 copy")
        try fixture.cas("why team/app:v2")
        for role in ["layer", "config", "manifest"] {
            try fixture.cas(["why", try digest(fixture, "team/app:v2", role)])
        }
        try fixture.cas("usage")
        try Snapshot.check(fixture, "image-refs")
    }

    @Test func `an image is pinned, gets another name, and goes for good`() throws {
        let fixture = try CommandLineFixture()
        try prepare(fixture)
        try fixture.cas("pin team/app:v1 --reason paper")
        try fixture.cas("pin")
        try fixture.cas("why team/app:v1")
        try fixture.cas("unpin team/app:v1")
        try fixture.cas("tag team/app:v1 team/release:v1 --message released --if-match none")
        try fixture.cas("tag team/app:v1 team/release:v1")
        try fixture.cas("tag team/app:v2 team/release:v1 --if-match none")
        try fixture.cas("tag team/app:v2 team/release:v1 --expires 7d")
        try fixture.cas("tag team/app:v2 team/release:v1 --image-option prefix=/app")
        let manifest = try digest(fixture, "team/app:v1", "manifest")
        try fixture.cas(["tag", "team/app@\(manifest)", "team/release:v0", "--json"])
        try fixture.cas(["tag", "team/train@\(manifest)", "team/release:no"])
        try fixture.cas("log team/release:v1")
        try fixture.cas("ls team/release:v1")
        try fixture.cas("purge team/app:v2 --reason secret --dry-run")
        try fixture.cas("purge team/app:v2 --reason secret")
        try fixture.cas("ls")
        try Snapshot.check(fixture, "image-names")
    }

    @Test func `an image travels in a file, and between stores and servers`() throws {
        let fixture = try CommandLineFixture()
        try prepare(fixture)
        try fixture.cas("export team/app:v1 team/app:v2 team/train all.cas")
        try fixture.cas("import all.cas --store other")
        try fixture.cas("import all.cas --store other --json")
        try fixture.cas("diff team/app:v1 team/app:v2 --store other")
        try fixture.cas("export team/app:v1 team/train all.cas --force --json")
        let address = try fixture.serve("--store served")
        let host = address.replacing("http://", with: "")
        try fixture.cas("copy team/app:v1 \(host)/mirror/app:v1")
        try fixture.cas("copy team/app:v2 \(host)/mirror/app:v2")
        try fixture.cas("copy team/app:v2 \(host)/mirror/app:v2 --json")
        try fixture.cas("ls \(host)/mirror/app:v2")
        try fixture.cas("tag \(host)/mirror/app:v2 \(host)/release/app:v2")
        try fixture.cas("export \(host)/release/app:v2 remote.cas")
        try fixture.cas("import remote.cas --server \(address)")
        try fixture.cas("import remote.cas --store third")
        try fixture.cas("copy \(host)/release/app:v2 here:v2 --store third")
        try fixture.cas("ls --store third")
        try Snapshot.check(fixture, "image-travel")
    }

    @Test func `an image that is another one elsewhere is told of, also where nothing moves`()
        throws
    {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        _ = try fixture.run(["push", "work", "--to", "team/app", "--store", "store"])
        let built = try fixture.run(
            [
                "image", "build", "--base", "scratch", "--workspace", "team/app=/data",
                "--platform", "linux/amd64", "--to", "team/app:base", "--store", "store",
            ], environment: epoch)
        #expect(built.status == 0, "\(built.errors)")
        let listed = try fixture.run(["ls", "team/app:base", "--store", "store", "--json"]).output
        let document = try JSONSerialization.jsonObject(with: Data(listed.utf8)) as? [String: Any]
        let parts = try #require(document?["parts"] as? [[String: Any]])
        let base = try #require(
            parts.first { $0["role"] as? String == "manifest" }?["digest"] as? String)
        let tagged = try fixture.run([
            "tag", "team/app", "team/app:v1", "--store", "store", "--image-option",
            "base=team/app@\(base)",
        ])
        #expect(tagged.status == 0, "\(tagged.errors)")
        // Somebody pulls it.
        let address = try fixture.serve("--store store")
        let host = address.replacing("http://", with: "")
        let inspected = try fixture.run(["image", "inspect", "\(host)/team/app:v1"])
        #expect(inspected.status == 0, "\(inspected.errors)")
        for isFirst in [true, false] {
            let copied = try fixture.run([
                "copy", "\(host)/team/app:v1", "mirror/app:v1", "--store", "other",
            ])
            #expect(copied.status == 0, "\(copied.errors)")
            #expect(
                copied.errors.contains("where it comes from; here it is sha256:"),
                "\(copied.errors)")
            #expect(copied.errors.contains("is unchanged") == !isFirst, "\(copied.errors)")
        }
        let mirrored = try fixture.run([
            "ls", "mirror/app@\(base)", "--store", "other", "--json",
        ])
        #expect(mirrored.status == 0, "\(mirrored.errors)")
    }
}
