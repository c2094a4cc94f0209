import Foundation
import Testing

/// Rules and pins on the command line.
@Suite struct KeepingCommandTests {
    private func pushed() throws -> CommandLineFixture {
        let fixture = try CommandLineFixture()
        try fixture.write("work/train.py", "print(1)\n")
        try fixture.cas("push work --to team/project:v1")
        return fixture
    }

    @Test func `rules are set, listed and removed`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas("rule list")
        try fixture.cas(
            "rule set team/* --keep 10 --keep-for 30d --keep-tags v* --keep-tags stable")
        try fixture.cas("rule set release/** --once * --history 365d")
        try fixture.cas("rule set ci/** --cache --quota 512GiB --window 12h")
        try fixture.cas("rule list")
        try fixture.cas("rule set team/* --quota 1.5GiB --history 0s --json")
        try fixture.cas("rule list --json")
        try fixture.cas("rule rm ci/**")
        try fixture.cas("rule rm ci/**")
        try fixture.cas("rule list")
        try Snapshot.check(fixture, "rules")
    }

    @Test func `a rule that makes no sense is refused before a store is looked for`() throws {
        let fixture = try CommandLineFixture()
        for line in [
            "team/*", "Team --keep 1", "team/* --keep 0", "team/* --keep-tags v*",
            "team/* --keep 1 --keep-tags a/b", "team/* --cache --keep 1",
            "team/* --keep 1 --window 1d", "team/* --quota much", "team/* --history soon",
            "team/*** --keep 1",
        ] {
            try fixture.cas("rule set \(line) --server http://127.0.0.1:1")
        }
        try fixture.cas("rule rm Team")
        try Snapshot.check(fixture, "rule-refusals")
    }

    @Test func `pins are set, listed and ended`() throws {
        let fixture = try pushed()
        try fixture.cas("pin")
        try fixture.cas("pin team/project:v1 --reason paper")
        let digest = try fixture.run(["pin"]).output.prefix { $0 != " " }.split(separator: "@")
        let bare = String(try #require(digest.last))
        try fixture.cas("pin \(bare) --expires 90d")
        try fixture.cas("pin")
        try fixture.cas("pin team/other@\(bare) --json")
        try fixture.cas("pin --json")
        try fixture.cas("pin team/nothing")
        try fixture.cas(["pin", "sha256:\(String(repeating: "0", count: 64))"])
        try fixture.cas("pin --expires 1d")
        try fixture.cas("pin team/project:v1 --expires 5s")
        try fixture.cas("unpin team/project:v1")
        try fixture.cas("unpin team/project:v1")
        try fixture.cas("unpin \(bare)")
        try fixture.cas("pin")
        try Snapshot.check(fixture, "pins")
    }

    @Test func `what is created once and what is too much says which rule forbids it`() throws {
        let fixture = try pushed()
        try fixture.cas("rule set team/* --once v* --quota 20")
        try fixture.write("work/train.py", "print(2)\n")
        try fixture.cas("push work --to team/project:v1")
        try fixture.cas("tag team/project:v1 team/project:v2 --expires 1d")
        try fixture.cas("tag team/project:v1 team/project:v2")
        try fixture.cas("rm team/project:v2")
        try fixture.write("work/more", String(repeating: "x", count: 5000))
        try fixture.cas("push work --to team/project:next")
        try Snapshot.check(fixture, "rules-in-force")
    }

    @Test func `rules and pins outlive the index`() throws {
        let fixture = try pushed()
        try fixture.cas("rule set team/* --keep 3")
        try fixture.cas("pin team/project:v1")
        let rules = try fixture.cas("rule list").output
        let pins = try fixture.cas("pin").output
        #expect(try fixture.cas("rebuild-index").status == 0)
        #expect(try fixture.cas("rule list").output == rules)
        #expect(try fixture.cas("pin").output == pins)
    }
}
