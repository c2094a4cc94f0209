import Foundation
import Testing

/// Settings, and the commands about them.
@Suite struct SettingsCommandTests {
    @Test func `config shows each value and where it came from`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas("config")
        try fixture.write(
            "home/.config/cas/config.yaml", "server: https://cas.example.com\ncache-size: 5GiB\n")
        try fixture.cas("config")
        try fixture.cas("config", environment: ["CAS_STORE": "/srv/cas", "CAS_REF": "team/x"])
        try fixture.cas("config --store here", environment: ["CAS_SERVER": "http://127.0.0.1:1"])
        try fixture.cas(
            "config --json",
            environment: [
                "CAS_SERVER": "https://cas.example.com:8443", "CAS_TOKEN": "cas_secret",
                "HTTPS_PROXY": "http://proxy.example.com:3128", "CAS_CA_FILE": "/etc/ca.pem",
                "XDG_CACHE_HOME": "/var/cache",
            ])
        try fixture.cas(
            "config --server https://other.example.com",
            environment: [
                "CAS_SERVER": "https://cas.example.com", "CAS_TOKEN": "cas_secret",
                "HTTPS_PROXY": "proxy:3128", "NO_PROXY": "localhost,.example.com",
            ])
        let far = "config --server https://cas.example.com"
        try fixture.cas(
            far, environment: ["HTTPS_PROXY": "http://ann:p%40ss@proxy.example.com:3128/"])
        try fixture.cas(far, environment: ["HTTPS_PROXY": "socks5://ann:secret@proxy:1080"])
        try fixture.cas(far, environment: ["HTTPS_PROXY": "http://ann:100%@proxy:3128"])
        try fixture.cas(far, environment: ["HTTPS_PROXY": "http://proxy:much"])
        try fixture.cas("config", environment: ["CAS_SERVER": "", "CAS_STORE": ""])
        try Snapshot.check(fixture, "config")
    }

    @Test func `two answers to where the store is are an error`() throws {
        let fixture = try CommandLineFixture()
        let both = ["CAS_SERVER": "http://127.0.0.1:1", "CAS_STORE": "/srv/cas"]
        try fixture.cas("ls", environment: both)
        try fixture.cas("config --store mine", environment: both)
        try fixture.cas("ls --server http://127.0.0.1:1 --store mine")
        try fixture.cas("ls --store mine example.com/team/project")
        try fixture.cas("ls --server http://127.0.0.1:1 example.com/team/project")
        try fixture.write(
            "home/.config/cas/config.yaml", "server: https://a.example\nstore: /srv\n")
        try fixture.cas("ls")
        try Snapshot.check(fixture, "both-server-and-store")
    }

    @Test func `a job on a throwaway machine needs a server`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work", environment: ["CI": "true"])
        try fixture.cas(
            "fetch team/project copy", environment: ["KUBERNETES_SERVICE_HOST": "10.0.0.1"])
        #expect(
            try fixture.run(["push", "work", "--store", "s"], environment: ["CI": "true"]).status
                == 0)
        try Snapshot.check(fixture, "throwaway-machine")
    }

    @Test(arguments: [
        ("to: &a [x, y]\nexclude: [*a, *a]\n", "anchors (&) are not supported here"),
        ("exclude: [&a x]\n", "anchors (&) are not supported here"),
        ("server: https://evil.example\n", "may not stand in a project file"),
        ("token: cas_x\n", "may not stand in a project file"),
        ("to: evil.example/team/x\n", "without a server"),
        ("tto: x\n", "'tto' is not a setting here"),
        ("to: [a, b]\n", "must be one value"),
        ("limit: much\n", "is no size"),
        ("to: a\nto: b\n", "cas.yaml"),
        ("to: \"a\n", "not valid YAML"),
        ("- a\n", "holds no settings"),
    ])
    func `a project file with something else than its settings is refused`(
        text: String, message: String
    ) throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.write("work/cas.yaml", text)
        let result = try fixture.run(["push", "work"])
        #expect(result.status == 1)
        #expect(result.output.isEmpty)
        #expect(result.errors.contains(message), "\(result.errors)")
    }

    @Test func `a ref of the project file that is none is shown as bad`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.write("work/cas.yaml", "to: Team/X\n")
        let file = fixture.path("work/cas.yaml")
        let shown = try fixture.run(["config", "work"])
        #expect(shown.status == 0)
        #expect(shown.output.contains("Team/X"))
        #expect(shown.output.contains("(BAD: \(file): 'to' is 'Team/X'"), "\(shown.output)")
        let push = try fixture.run(["push", "work"])
        #expect(push.status == 1)
        #expect(push.errors.contains("error: \(file): 'to' is 'Team/X'"), "\(push.errors)")
    }

    @Test func `credentials that others can read are refused`() throws {
        let fixture = try CommandLineFixture()
        try fixture.write("home/.config/cas/credentials", "127.0.0.1:1 cas_x\n", permissions: 0o644)
        try fixture.cas("ls --server http://127.0.0.1:1")
        try fixture.cas("doctor")
        try Snapshot.check(fixture, "credentials-mode")
    }

    @Test func `doctor finds nothing wrong with a new installation`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas("doctor")
        try fixture.cas("doctor --json")
        let far = "doctor --server https://cas.example.com"
        try fixture.cas(far, environment: ["HTTPS_PROXY": "socks5://proxy:1080"])
        try fixture.cas(far, environment: ["CAS_CA_FILE": "missing.pem"])
        try fixture.cas("doctor --server nowhere")
        try Snapshot.check(fixture, "doctor")
    }

    @Test func `a directory of any name gets a valid ref`() throws {
        let fixture = try CommandLineFixture()
        for (name, ref) in [
            ("My Project", "ann/my-project:latest"), ("_x_", "ann/x:latest"),
            ("a._b", "ann/a-b:latest"), ("...", "ann/workspace:latest"),
            ("ÄÖ", "ann/workspace:latest"), ("v1.2", "ann/v1.2:latest"),
        ] {
            try fixture.write("\(name)/file", "x")
            let result = try fixture.run(["push", name, "--dry-run"])
            #expect(result.errors.contains("\(ref) (by default)"), "\(name): \(result.errors)")
        }
    }

    @Test func `help has groups and examples`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas("--help")
        try fixture.cas("help push")
        try fixture.cas("--version")
        try fixture.cas("bogus")
        try fixture.cas("push --bogus")
        try Snapshot.check(fixture, "help")
    }

    @Test(arguments: [
        "push", "fetch", "run", "status", "ls", "cat", "log", "diff", "tag", "verify",
        "rm", "serve", "login", "config", "doctor", "usage", "rebuild-index", "token",
        "render", "inject", "submit", "runs", "publish", "watch", "warm", "k8s",
    ])
    func `every command has examples in its help`(command: String) throws {
        let result = try CommandLineFixture().run([command, "--help"])
        #expect(result.status == 0)
        #expect(result.output.contains("EXAMPLES:"))
        #expect(result.output.contains("cas \(command)"))
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func `completions come for every shell`(shell: String) throws {
        let result = try CommandLineFixture().run(["--generate-completion-script", shell])
        #expect(result.status == 0)
        #expect(result.output.contains("rebuild-index"))
    }
}
