import AsyncHTTPClient
import CASClient
import CASCore
import CASFileSystem
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// Fetches the keys of an issuer over HTTP.
struct RemoteKeys: Sendable {
    private static let seconds: Int64 = 5

    let issuer: String
    let address: String
    let proxy: ServerProxy?
    let cluster: ClusterAccess
    /// Certificates to trust instead of the system's.
    let certificatesPath: String?

    /// The keys that the address has, or the address that a discovery document there names.
    func load() async throws -> IssuerKeys {
        let document = try await fetch(address)
        guard let members = JSONValue.object(document) else {
            throw failure(address, "answered with something that is no JSON document")
        }
        if members["keys"] != nil { return try await IssuerKeys(document) }
        guard let place = members["jwks_uri"]?.text else {
            throw failure(address, "has neither keys nor says where they are")
        }
        guard members["issuer"]?.text == issuer else {
            throw failure(address, "is about the issuer '\(members["issuer"]?.text ?? "")'")
        }
        return try await IssuerKeys(try await fetch(place))
    }

    private func failure(_ address: String, _ what: String) -> CASError {
        CASError(.unavailable, "the keys of \(issuer) can not be had: \(address) \(what)")
    }

    private func fetch(_ address: String) async throws -> [UInt8] {
        let (host, port) = try TrustedIssuer.host(of: address)
        let isCluster =
            address.hasPrefix("https://") && cluster.hosts.contains(host)
            && cluster.ports.contains(port)
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(
                connect: .seconds(RemoteKeys.seconds), read: .seconds(RemoteKeys.seconds)))
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = false
        if let proxy, !isCluster { configuration.proxy = proxy.setting }
        if let path = try authorities(isCluster) {
            var settings = TLSConfiguration.makeClientConfiguration()
            settings.trustRoots = .file(path)
            configuration.tlsConfiguration = settings
        }
        if address.hasPrefix("https://") { ServerIdentity.require(host, &configuration) }
        let client = HTTPClient(
            eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result<[UInt8], any Error>
        do { result = .success(try await get(address, isCluster, client)) } catch {
            result = .failure(error)
        }
        try await client.shutdown()
        do { return try result.get() } catch let error as CASError { throw error } catch {
            throw failure(address, "does not answer: \(error)")
        }
    }

    private func get(
        _ address: String, _ isCluster: Bool, _ client: HTTPClient
    ) async throws -> [UInt8] {
        var request = HTTPClientRequest(url: address)
        request.headers.add(name: "accept", value: "application/json, application/jwk-set+json")
        if isCluster, let token = try clusterFile("token") {
            let text = String(decoding: token, as: UTF8.self)
            let word = text.split { $0.isWhitespace }.joined()
            request.headers.add(name: "authorization", value: "Bearer \(word)")
        }
        let response = try await client.execute(
            request, deadline: .now() + .seconds(2 * RemoteKeys.seconds))
        guard response.status == .ok else {
            throw failure(address, "answers with status \(response.status.code)")
        }
        let body = try await response.body.collect(upTo: IssuerKeys.maximumBytes)
        return Array(body.readableBytesView)
    }

    private func authorities(_ isCluster: Bool) throws -> String? {
        let path = "\(cluster.directory)/ca.crt"
        if isCluster, try DiskFileSystem().status(path) != nil { return path }
        return certificatesPath
    }

    private func clusterFile(_ name: String) throws -> [UInt8]? {
        try DiskFileSystem().read(
            "\(cluster.directory)/\(name)", maximumBytes: IdentityToken.maximumBytes)
    }
}

/// Reads the keys of an issuer from a file, again when it changes.
final class FileKeys: Sendable {
    private struct State {
        var status: FileStatus?
        var keys: IssuerKeys?
    }
    private let path: String
    private let pool: NIOThreadPool?
    private let state = Mutex(State())

    /// Keys in a file; read on a pool, or on the caller's thread without one.
    init(_ path: String, pool: NIOThreadPool?) {
        self.path = path
        self.pool = pool
    }

    func load() async throws -> IssuerKeys {
        let look: @Sendable () throws -> (FileStatus, IssuerKeys?, [UInt8]) = { [self] in
            guard let status = try DiskFileSystem().status(path) else {
                throw CASError(.notFound, "the file of keys is not there", path: path)
            }
            let known = state.withLock { $0 }
            if let old = known.status, old.isSameContent(as: status), let keys = known.keys {
                return (status, keys, [])
            }
            let bytes = try DiskFileSystem().read(path, maximumBytes: IssuerKeys.maximumBytes)
            return (status, nil, bytes ?? [])
        }
        let (status, known, bytes) = try await pool?.runIfActive(look) ?? look()
        if let known { return known }
        do {
            let keys = try await IssuerKeys(bytes)
            state.withLock { $0 = State(status: status, keys: keys) }
            return keys
        } catch var error as CASError {
            error.path = error.path ?? path
            throw error
        }
    }
}
