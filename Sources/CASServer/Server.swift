import CASCore
import CASFileSystem
import CASHTTP
import CASRepository
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import ServiceLifecycle
import Synchronization
import UnixSignals

/// A server: a store on disk behind the native protocol.
package enum Server {
    private static let backlog = 1024
    private static let idleSeconds: Int64 = 120

    /// Serves until SIGTERM or SIGINT, then finishes what is in progress and closes the store. Blocks.
    ///
    /// Calls `onReady` with the server's address once it takes connections.
    package static func run(
        _ configuration: ServerConfiguration, onReady: @escaping @Sendable (String) -> Void
    ) throws {
        try configuration.check()
        let repository = try StoreLocation.open(
            directory: configuration.storeDirectory, create: true, limits: configuration.limits)
        let logger = Logger(label: "cas") { _ in JSONLog(level: configuration.logLevel) }
        let outcome = ServerOutcome()
        let task = Task.detached {
            do {
                try await serve(configuration, repository, logger, onReady)
                outcome.finish(nil)
            } catch {
                outcome.finish(error)
            }
        }
        let failure = outcome.wait()
        task.cancel()
        try repository.close()
        if let failure { throw explain(failure, configuration) }
    }

    private static func serve(
        _ configuration: ServerConfiguration, _ repository: Repository, _ logger: Logger,
        _ onReady: @escaping @Sendable (String) -> Void
    ) async throws {
        let pool = NIOThreadPool(numberOfThreads: configuration.threads)
        pool.start()
        let door = Door(
            repository: repository, access: TokenAccess(repository, configuration),
            metrics: ServerMetrics(), pool: pool, publicURL: configuration.publicURL)
        let application = Application(
            responder: door, server: try builder(configuration),
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port),
                backlog: backlog),
            onServerRunning: { channel in
                let scheme = configuration.isTLS ? "https" : "http"
                let port = channel.localAddress?.port ?? configuration.port
                let host =
                    configuration.host.contains(":")
                    ? "[\(configuration.host)]" : configuration.host
                let address = "\(scheme)://\(host):\(port)"
                logger.info(
                    "serving",
                    metadata: [
                        "address": "\(address)", "store": "\(configuration.storeDirectory)",
                        "access": "\(access(configuration))",
                        "trust": "whoever knows a digest and may read anything may read it",
                    ])
                onReady(address)
            }, logger: logger)
        let result: Result<Void, any Error>
        do {
            try await application.runService(gracefulShutdownSignals: [.sigterm, .sigint])
            result = .success(())
        } catch {
            result = .failure(error)
        }
        try await pool.shutdownGracefully()
        logger.info("stopped")
        try result.get()
    }

    private static func access(_ configuration: ServerConfiguration) -> String {
        if configuration.isLoopback { return "open to this machine" }
        return configuration.anonymous == .nothing
            ? "tokens only" : "tokens, and \(configuration.anonymous.rawValue) for everybody"
    }

    private static func builder(_ configuration: ServerConfiguration) throws -> HTTPServerBuilder {
        let plain = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [
                    ContinueHandler(limit: configuration.limits.requestBytes)
                ],
                idleTimeout: .seconds(idleSeconds)))
        guard let certificatePath = configuration.certificatePath,
            let keyPath = configuration.keyPath
        else { return plain }
        do {
            var settings = TLSConfiguration.makeServerConfiguration(
                certificateChain: try NIOSSLCertificate.fromPEMFile(certificatePath).map {
                    .certificate($0)
                },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: keyPath, format: .pem)))
            settings.minimumTLSVersion = .tlsv12
            return try .tls(plain, tlsConfiguration: settings)
        } catch {
            throw CASError(
                .invalidArgument, "the certificate or the key can not be used",
                hint: "both are PEM files; the key must belong to the certificate", cause: error,
                path: certificatePath)
        }
    }

    private static func explain(
        _ error: any Error, _ configuration: ServerConfiguration
    ) -> any Error {
        if error is CASError { return error }
        return CASError(
            .unavailable,
            "the server can not listen on \(configuration.host):\(configuration.port)",
            hint: "another program may use the port; --listen 127.0.0.1:0 takes a free one",
            cause: error)
    }
}

/// How the asynchronous part of a server ended, for the thread that waits for it.
private final class ServerOutcome: Sendable {
    private let queue = BoundedQueue<Bool>(capacity: 1)
    private let failure = Mutex<(any Error)?>(nil)

    func finish(_ error: (any Error)?) {
        failure.withLock { $0 = error }
        queue.close()
    }

    func wait() -> (any Error)? {
        _ = try? queue.take()
        return failure.withLock { $0 }
    }
}
