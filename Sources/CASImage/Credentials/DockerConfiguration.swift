import CASCore
import CASFileSystem
import CASOCI

/// One file of credentials as docker and podman write them.
package struct DockerConfiguration: Sendable {
    private static let maximumBytes = 4 << 20
    private static let hubKey = "https://index.docker.io/v1/"
    private static let hubHost = "index.docker.io"

    private let path: String
    private let entries: [(key: String, value: JSON)]
    private let helpers: [String: String]
    private let standardHelper: String?
    private let runHelper:
        @Sendable (_ name: String, _ server: String) throws -> RegistryCredential?

    /// Reads a file; nil where there is none, throws `invalidArgument` where it is no such file.
    package init?(
        path: String,
        runHelper: @escaping @Sendable (String, String) throws -> RegistryCredential? =
            CredentialHelper.get
    ) throws {
        guard
            let bytes = try DiskFileSystem().read(
                path, maximumBytes: DockerConfiguration.maximumBytes)
        else { return nil }
        try self.init(path: path, bytes, runHelper: runHelper)
    }

    /// Reads the bytes of such a file.
    init(
        path: String, _ bytes: [UInt8],
        runHelper: @escaping @Sendable (String, String) throws -> RegistryCredential?
    ) throws {
        self.path = path
        self.runHelper = runHelper
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.contains(where: { !$0.isWhitespace }) else {
            (entries, helpers, standardHelper) = ([], [:], nil)
            return
        }
        let document: JSON
        do { document = try JSON(decoding: bytes) } catch {
            // What it holds is secret and stays out of the message.
            throw CASError(
                .invalidArgument, "the file of registry credentials is not JSON",
                hint: "docker login or podman login writes it", path: path)
        }
        entries = (document["auths"]?.members ?? []).map { ($0.key, $0.value) }
        helpers = document["credHelpers"]?.map ?? [:]
        standardHelper = document["credsStore"]?.text.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// What the file says for a repository of a registry; nil for nothing.
    ///
    /// As podman reads it: the longest of `HOST/PART/…`, then the host; keys as docker once wrote them
    /// (with a scheme and a path) count for their host. A helper of the host comes first, the one for all
    /// hosts last.
    package func credential(host: String, name: String) throws -> RegistryCredential? {
        let host = host.lowercased()
        let isHub = DockerConfiguration.host(host) == DockerConfiguration.hubHost
        for key in isHub ? [host, DockerConfiguration.hubHost, DockerConfiguration.hubKey] : [host]
        {
            guard let helper = helpers[key] else { continue }
            let server = isHub ? DockerConfiguration.hubKey : host
            if let found = try runHelper(helper, server) { return found }
        }
        var keys: [String] = [""]
        for part in name.split(separator: "/") { keys.append("\(keys.last ?? "")/\(part)") }
        for key in keys.reversed() {
            if let entry = entries.first(where: { $0.key == host + key }),
                let found = try credential(entry.value)
            {
                return found
            }
        }
        for entry in entries
        where DockerConfiguration.host(entry.key) == DockerConfiguration.host(host) {
            if let found = try credential(entry.value) { return found }
        }
        guard let standardHelper else { return nil }
        return try runHelper(standardHelper, isHub ? DockerConfiguration.hubKey : host)
    }

    private func credential(_ entry: JSON) throws -> RegistryCredential? {
        if let token = entry["identitytoken"]?.text, !token.isEmpty { return .identityToken(token) }
        if let token = entry["registrytoken"]?.text, !token.isEmpty { return .bearer(token) }
        if let text = entry["auth"]?.text, !text.isEmpty {
            let plain = Base64.decode(text).flatMap { String(validating: $0, as: UTF8.self) }
            guard let plain, let colon = plain.firstIndex(of: ":") else {
                throw CASError(
                    .invalidArgument, "an 'auth' in it is no user and password", path: path)
            }
            // Old versions of docker padded passwords with zeros.
            let password = plain[plain.index(after: colon)...].prefix { $0 != "\0" }
            return .basic(user: String(plain[..<colon]), password: String(password))
        }
        guard let user = entry["username"]?.text, let password = entry["password"]?.text else {
            return nil
        }
        return .basic(user: user, password: password)
    }

    /// The host of a key, whatever stands around it; all names of Docker Hub are one.
    ///
    /// Keys of a single repository are none of a host.
    private static func host(_ key: String) -> String {
        var text = key.lowercased()[...]
        var isOld = false
        for scheme in ["https://", "http://"] where text.hasPrefix(scheme) {
            text = text.dropFirst(scheme.count)
            isOld = true
        }
        if isOld { text = text.prefix { $0 != "/" } }
        switch text {
        case "docker.io", "registry-1.docker.io": return hubHost
        default: return String(text)
        }
    }
}

/// Programs that keep credentials: `docker-credential-NAME get`.
package enum CredentialHelper {
    private static let maximumBytes = 1 << 20
    /// Who has an identity token instead of a password.
    private static let tokenUser = "<token>"

    /// What a helper knows for a server; nil for nothing.
    @Sendable package static func get(_ name: String, _ server: String) throws
        -> RegistryCredential?
    {
        guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x2f }) else {
            throw CASError(.invalidArgument, "'\(name)' is no name of a credential helper")
        }
        let program = "docker-credential-\(name)"
        let result = try ProgramCall.run(
            [program, "get"], input: Array(server.utf8), maximumBytes: maximumBytes)
        let said = String(decoding: result.output, as: UTF8.self)
        guard result.status == 0 else {
            // The protocol has no status of its own for it (docker-credential-helpers, credentials/error.go).
            if said.contains("credentials not found") { return nil }
            let errors = String(decoding: result.errors, as: UTF8.self)
            let why = (said + errors).split(separator: "\n").first.map(String.init) ?? ""
            throw CASError(
                .unauthenticated,
                "\(program) gave no credentials for \(server): status \(result.status) \(why)")
        }
        let answer: JSON
        do { answer = try JSON(decoding: result.output) } catch {
            throw CASError(.unauthenticated, "\(program) answered with something else than JSON")
        }
        guard let user = answer["Username"]?.text, let secret = answer["Secret"]?.text else {
            return nil
        }
        return user == tokenUser
            ? .identityToken(secret) : .basic(user: user, password: secret)
    }
}
