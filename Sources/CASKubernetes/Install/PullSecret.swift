/// The Secret with which nodes pull from a registry (kubernetes.io/dockerconfigjson).
package struct PullSecret: Sendable {
    private static let user = "cas"

    /// The registry's host.
    package var host: String
    /// The token that is the password there.
    package var token: String
    /// The object's name.
    package var name: String
    /// Its namespace; nil for whatever kubectl says.
    package var namespace: String?

    /// A secret from its parts; host and token are of visible ASCII without quotes.
    package init(host: String, token: String, name: String, namespace: String?) {
        self.host = host
        self.token = token
        self.name = name
        self.namespace = namespace
    }

    /// The manifest.
    package var document: ManifestValue {
        let both = Base64.encode(Array("\(Self.user):\(token)".utf8))
        let configuration =
            #"{"auths":{"\#(host)":{"username":"\#(Self.user)","password":"\#(token)","auth":"\#(both)"}}}"#
        var metadata: ManifestValue = ["name": .text(name)]
        if let namespace { metadata["namespace"] = .text(namespace) }
        return [
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            "type": "kubernetes.io/dockerconfigjson",
            "data": [".dockerconfigjson": .text(Base64.encode(Array(configuration.utf8)))],
        ]
    }
}

/// Base64 (RFC 4648, section 4).
enum Base64 {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var output: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits = group.reduce(0) { $0 << 8 | Int($1) }
            bits <<= 8 * (3 - group.count)
            for index in 0..<4 {
                output.append(
                    index <= group.count
                        ? alphabet[bits >> (18 - 6 * index) & 63] : UInt8(ascii: "="))
            }
        }
        return String(decoding: output, as: UTF8.self)
    }
}
