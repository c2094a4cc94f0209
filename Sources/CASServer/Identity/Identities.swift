import CASCore
import CASFileSystem
import Logging
import NIOPosix

/// Makes what verifies identity tokens out of the configuration.
enum Identities {
    /// Nil without issuers; throws for a file of keys that can not be used.
    ///
    /// Blocks for files. Keys behind an address are fetched once the server serves: an issuer that is away
    /// does not keep it from doing so.
    static func verifier(
        _ configuration: ServerConfiguration, _ pool: NIOThreadPool, _ logger: Logger
    ) throws -> IdentityVerifier? {
        guard !configuration.issuers.isEmpty else { return nil }
        var caches: [String: KeyCache] = [:]
        for issuer in configuration.issuers {
            caches[issuer.issuer] = try cache(issuer, configuration, pool, logger)
        }
        var rules = configuration.grants
        if rules.isEmpty {
            rules = [try GrantRule.kubernetes]
            logger.info("tokens with claims of Kubernetes may read the names of their namespace")
        }
        return IdentityVerifier(
            issuers: caches, rules: rules, audience: configuration.audience, clock: SystemClock(),
            pool: pool)
    }

    private static func cache(
        _ issuer: TrustedIssuer, _ configuration: ServerConfiguration, _ pool: NIOThreadPool,
        _ logger: Logger
    ) throws -> KeyCache {
        let name = issuer.issuer
        let onFailure: @Sendable (any Error) -> Void = { error in
            logger.warning(
                "the keys of an issuer can not be had",
                metadata: ["issuer": "\(name)", "cause": "\(error)"])
        }
        switch issuer.source {
        case .file(let path):
            let first = SharedResult<IssuerKeys>()
            Task.detached {
                do { first.set(.success(try await FileKeys(path, pool: nil).load())) } catch {
                    first.set(.failure(error))
                }
            }
            let file = FileKeys(path, pool: pool)
            return KeyCache(
                .file, clock: SystemClock(), keys: try first.get(), onFailure: onFailure
            ) { try await file.load() }
        case .url(let address):
            let remote = RemoteKeys(
                issuer: name, address: address, proxy: issuer.proxy, cluster: configuration.cluster,
                certificatesPath: configuration.certificateAuthorities)
            return KeyCache(.remote, clock: SystemClock(), onFailure: onFailure) {
                try await remote.load()
            }
        }
    }
}
