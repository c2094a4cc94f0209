import CASClient
import CASCore
import Testing

@testable import CASImage

/// Where registries are, and where their answers lead.
@Suite struct RegistryAddressTests {
    @Test func `only a host that is this machine by its name is asked without TLS`() throws {
        for host in ["localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"] {
            #expect(try !RegistryLocation(host: host).origin.isSecure, "\(host)")
        }
        for host in ["127.0.0.1.example.org", "127.corp.example:5000", "127.0.0.1.5:80"] {
            #expect(try RegistryLocation(host: host).origin.isSecure, "\(host)")
        }
    }

    @Test func `where a registry is`() throws {
        let hub = try RegistryLocation(host: "docker.io")
        #expect(hub.origin.description == "https://registry-1.docker.io")
        #expect(hub.repository("python") == "library/python")
        #expect(hub.repository("ann/app") == "ann/app")
        #expect(
            try RegistryLocation(host: "localhost:5000").origin.description
                == "http://localhost:5000")
        #expect(try RegistryLocation(host: "[::1]:5000").origin.description == "http://[::1]:5000")
        #expect(try RegistryLocation(host: "a.example").origin.description == "https://a.example")
        #expect(
            try RegistryLocation(host: "a.example:80", isPlain: true).origin.description
                == "http://a.example")
        #expect(throws: CASError.self) { try RegistryLocation(host: "a.example:x") }
    }

    @Test func `addresses of answers, whole and relative`() throws {
        let base = try WebAddress("https://a.example/v2/x/blobs/uploads/1?s=2")
        for (text, whole) in [
            ("/v2/y", "https://a.example/v2/y"),
            ("?s=3", "https://a.example/v2/x/blobs/uploads/1?s=3"),
            ("2", "https://a.example/v2/x/blobs/uploads/2"),
            ("//b.example/z", "https://b.example/z"),
            ("http://c.example:8080/q?u=http://d", "http://c.example:8080/q?u=http://d"),
            ("https://e.example", "https://e.example/"),
        ] {
            #expect(try WebAddress(text, relativeTo: base).description == whole)
        }
        for bad in ["ftp://a.example/", "http://", "http://u@a.example/", "http://a b/", "x"] {
            #expect(throws: CASError.self, "\(bad)") { try WebAddress(bad) }
        }
        #expect(
            RegistryClient.next(["<https://a.example/x?last=b>; rel=\"next\""])
                == "https://a.example/x?last=b")
        #expect(RegistryClient.next(["</x>; rel=\"prev\"", "<>;rel=next"]) == "")
    }
}
