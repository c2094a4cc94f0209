import CASCore
import CASFileSystem
import CASTestSupport
import Testing

@testable import CASImage

@Suite struct CredentialTests {
    @Test func `base64 is that of RFC 4648`() {
        let vectors = [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ]
        for (plain, text) in vectors {
            #expect(Base64.encode(Array(plain.utf8)) == text)
            #expect(Base64.decode(text) == Array(plain.utf8))
        }
        for bad in ["Z", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v*", "===="] {
            #expect(Base64.decode(bad) == nil, "\(bad)")
        }
        #expect(Base64.decode("Zg") == [UInt8(ascii: "f")])
    }

    private func file(
        _ text: String,
        _ helper: @escaping @Sendable (String, String) throws -> RegistryCredential? = {
            _, _ in nil
        }
    ) throws -> DockerConfiguration {
        try DockerConfiguration(path: "config.json", Array(text.utf8), runHelper: helper)
    }

    private func auth(_ pair: String) -> String {
        "{\"auth\":\"\(Base64.encode(Array(pair.utf8)))\"}"
    }

    @Test func `the longest key of a repository wins`() throws {
        let file = try file(
            """
            {"auths": {"quay.example": \(auth("a:host")), "quay.example/team": \(auth("b:team")),
             "quay.example/team/app": \(auth("c:app"))}}
            """)
        #expect(
            try file.credential(host: "quay.example", name: "team/app")
                == .basic(user: "c", password: "app"))
        #expect(
            try file.credential(host: "Quay.example", name: "team/other/deep")
                == .basic(user: "b", password: "team"))
        #expect(
            try file.credential(host: "quay.example", name: "teams")
                == .basic(user: "a", password: "host"))
        #expect(try file.credential(host: "quay.example:5000", name: "team/app") == nil)
        #expect(try file.credential(host: "evil-quay.example", name: "team/app") == nil)
    }

    @Test func `keys of docker count for their host, and all names of Docker Hub are one`() throws {
        let file = try file(
            """
            {"auths": {"https://index.docker.io/v1/": \(auth("hub:secret:with:colons")),
             "https://old.example/v2/": \(auth("old:x")), "empty.example": {}}}
            """)
        for host in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            #expect(
                try file.credential(host: host, name: "library/python")
                    == .basic(user: "hub", password: "secret:with:colons"))
        }
        #expect(
            try file.credential(host: "old.example", name: "a")
                == .basic(user: "old", password: "x"))
        #expect(try file.credential(host: "empty.example", name: "a") == nil)
    }

    @Test func `tokens and plain fields`() throws {
        let file = try file(
            """
            {"auths": {"a.example": {"auth": "PHRva2VuPjo=", "identitytoken": "refresh"},
             "b.example": {"registrytoken": "bear"}, "c.example": {"username": "u", "password": "p"},
             "d.example": {"auth": "not base64"}}}
            """)
        #expect(try file.credential(host: "a.example", name: "x") == .identityToken("refresh"))
        #expect(try file.credential(host: "b.example", name: "x") == .bearer("bear"))
        #expect(
            try file.credential(host: "c.example", name: "x") == .basic(user: "u", password: "p"))
        #expect(throws: CASError.self) { try file.credential(host: "d.example", name: "x") }
        #expect(throws: CASError.self) { try self.file("{") }
        #expect(try self.file("  \n").credential(host: "a.example", name: "x") == nil)
    }

    @Test func `a helper of the host comes first, the one for all last`() throws {
        let file = try file(
            """
            {"auths": {"both.example": \(auth("file:x")), "store.example": {}},
             "credHelpers": {"both.example": "one", "gone.example": "none"}, "credsStore": "all"}
            """
        ) { name, server in
            name == "none" ? nil : .basic(user: name, password: server)
        }
        #expect(
            try file.credential(host: "both.example", name: "x")
                == .basic(user: "one", password: "both.example"))
        #expect(
            try file.credential(host: "store.example", name: "x")
                == .basic(user: "all", password: "store.example"))
        #expect(
            try file.credential(host: "gone.example", name: "x")
                == .basic(user: "all", password: "gone.example"))
        #expect(
            try file.credential(host: "docker.io", name: "x")
                == .basic(user: "all", password: "https://index.docker.io/v1/"))
    }

    @Test func `files are looked at in the order that is documented`() throws {
        let place = try TemporaryDirectory()
        func write(_ path: String, _ user: String) throws {
            let full = "\(place.path)/\(path)"
            try DiskFileSystem().createDirectory(FilePaths.parent(full))
            try DiskFileSystem().replace(
                full, Array("{\"auths\":{\"h.example\":\(auth("\(user):x"))}}".utf8))
        }
        var environment = [
            "HOME": "\(place.path)/home", "XDG_RUNTIME_DIR": "\(place.path)/run",
            "DOCKER_CONFIG": "\(place.path)/docker",
        ]
        func user() throws -> String? {
            let found = try RegistryCredentials(
                environment: { environment[$0] }, user: 4_000_000_000
            ).credential(host: "h.example", name: "x")
            guard case .basic(let user, _)? = found else { return nil }
            return user
        }
        #expect(try user() == nil)
        try write("home/.docker/config.json", "docker")
        #expect(try user() == "docker")
        try write("home/.config/containers/auth.json", "podman")
        #expect(try user() == "podman")
        try write("run/containers/auth.json", "session")
        #expect(try user() == "session")
        try write("docker/config.json", "named")
        #expect(try user() == "named")
        environment["REGISTRY_AUTH_FILE"] = "\(place.path)/other.json"
        #expect(try user() == nil)
        try write("other.json", "alone")
        #expect(try user() == "alone")
    }

    @Test func `a helper is a program that speaks JSON`() throws {
        #expect(throws: CASError.self) { try CredentialHelper.get("../evil", "h.example") }
        let error = #expect(throws: CASError.self) {
            try CredentialHelper.get("is-not-installed-here", "h.example")
        }
        #expect(error?.message.contains("docker-credential-is-not-installed-here") == true)
    }

    @Test func `challenges are read as RFC 9110 has them`() {
        let found = AuthenticationChallenge.parse([
            #"Bearer realm="https://auth.example/token",service="a, b",scope="repository:x:pull,push", Basic realm="q\"x""#,
            "Negotiate",
        ])
        #expect(found.map(\.scheme) == ["bearer", "basic", "negotiate"])
        #expect(found[0].parameters["realm"] == "https://auth.example/token")
        #expect(found[0].parameters["service"] == "a, b")
        #expect(found[0].parameters["scope"] == "repository:x:pull,push")
        #expect(found[1].parameters["realm"] == "q\"x")
        #expect(AuthenticationChallenge.parse(["Bearer realm=\"open"]).first?.parameters == [:])
        #expect(AuthenticationChallenge.parse(["", "=,=", ",,"]).isEmpty)
    }
}
