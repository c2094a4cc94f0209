import CASCore
import CASKubernetes
import Foundation
import Testing

@Suite struct InstallTests {
    /// The base's own image; who uses the base names another one (`kustomize edit set image`).
    private static let image = "registry.example.org/cas/cas:1"

    @Test func `the kustomize base is what the command prints`() throws {
        var installation = ServerInstallation(image: Self.image)
        installation.certificateSecret = "cas-tls"
        try Golden.check(
            ManifestYAML.write(installation.documents()),
            Golden.root.appending(path: "ops/kubernetes/base/cas.yaml"))
    }

    @Test func `another namespace, class and plain HTTP`() throws {
        var installation = ServerInstallation(image: Self.image)
        installation.namespace = "ml"
        installation.storage = "1Ti"
        installation.storageClass = "fast"
        installation.trust = []
        try Golden.check(installation.documents(), "install-plaintext")
        #expect(installation.clusterURL == "http://cas.ml.svc:8700")
    }

    @Test func `names and amounts that Kubernetes does not take`() throws {
        let changes: [(inout ServerInstallation) -> Void] = [
            { $0.namespace = "A" }, { $0.image = "a b" }, { $0.storage = "much" },
            { $0.storageClass = "A B" }, { $0.certificateSecret = "" },
        ]
        for change in changes {
            var installation = ServerInstallation(image: Self.image)
            _ = try installation.documents()
            change(&installation)
            #expect(throws: CASError.self) { try installation.documents() }
        }
    }

    @Test(arguments: [1, 2, 3, 30, 31, 32]) func `a pull secret is what Docker reads`(_ length: Int)
        throws
    {
        let token = String(repeating: "x", count: length)
        let secret = PullSecret(
            host: "registry.example.org:5000", token: token, name: "pull", namespace: "a")
        let data = try #require(secret.document.at("data", ".dockerconfigjson")?.text)
        let json = try JSONSerialization.jsonObject(with: try #require(Data(base64Encoded: data)))
        let auths = try #require((json as? [String: [String: [String: String]]])?["auths"])
        let entry = try #require(auths["registry.example.org:5000"])
        #expect(entry["password"] == token)
        let both = try #require(Data(base64Encoded: entry["auth"] ?? "?"))
        #expect(String(decoding: both, as: UTF8.self) == "cas:" + token)
    }
}
