import CASCore
import CASFileSystem
import CASHTTP
import CASRegistry
import CASRepository
import CASWire
import Glibc
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

    /// Serves until SIGTERM or SIGINT, then finishes what is in progress and closes the store.
    ///
    /// Blocks.
    ///
    /// Calls `onReady` with the server's address once it takes connections.
    package static func run(
        _ configuration: ServerConfiguration, onReady: @escaping @Sendable (String) -> Void
    ) throws {
        raiseFileLimit()
        try launch(configuration, signals: [.sigterm, .sigint], onReady).wait()
    }

    /// Lets this process have as many connections as it may: the usual 1,024 files are less than a thousand
    /// pods need.
    private static func raiseFileLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        // Refused, it goes on with what it has.
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// Starts a server that no signal ends, and returns once it takes connections.
    package static func start(_ configuration: ServerConfiguration) throws -> RunningServer {
        let addresses = BoundedQueue<String>(capacity: 1)
        let server = try launch(configuration, signals: []) { address in
            // Put once, so that there is room.
            do { try addresses.put(address) } catch { addresses.fail(error) }
        }
        server.whenEnded { addresses.close() }
        guard let address = try addresses.take() else {
            try server.wait()
            throw CASError(.internalError, "the server ended before it took connections")
        }
        server.setAddress(address)
        return server
    }

    private static func launch(
        _ configuration: ServerConfiguration, signals: [UnixSignal],
        _ onReady: @escaping @Sendable (String) -> Void
    ) throws -> RunningServer {
        try configuration.check()
        let builder = try builder(configuration)
        let logger = Logger(label: "cas") { _ in JSONLog(level: configuration.logLevel) }
        let pool = NIOThreadPool(numberOfThreads: configuration.threads)
        let identities = try Identities.verifier(configuration, pool, logger)
        // Before the catalog is opened: on a shared volume another machine may be writing to it.
        let early =
            try StoreLocation.exists(configuration.storeDirectory)
            ? StoreLocation.lockForServing(directory: configuration.storeDirectory) : nil
        let repository = try StoreLocation.open(
            directory: configuration.storeDirectory, create: true, limits: configuration.limits,
            protectedSeconds: configuration.protectedSeconds)
        do {
            let use =
                try early
                ?? StoreLocation.lockForServing(directory: configuration.storeDirectory)
            let clients = try configuration.clientExecutable.map {
                try ClientStore(
                    executable: $0, storeDirectory: configuration.storeDirectory, logger: logger)
            }
            let door = door(configuration, repository, pool, identities, clients)
            let progress = ServerProgress()
            let application = application(configuration, door, builder, logger) {
                progress.hasServed.store(true, ordering: .releasing)
                identities?.prefetch()
                onReady($0)
            }
            var settings = ServiceGroupConfiguration(
                // Ended in the order from the last to the first.
                services: [application, WaitingRequests(door: door)],
                gracefulShutdownSignals: signals, logger: logger)
            settings.maximumGracefulShutdownDuration = .seconds(configuration.shutdownSeconds)
            let background = try background(configuration.background, repository, logger)
            return RunningServer(
                configuration,
                RunningServer.Store(repository: repository, use: use, background: background), pool,
                ServiceGroup(configuration: settings), logger, progress)
        } catch {
            try repository.close()
            throw error
        }
    }

    /// What the server does with its store by itself.
    private static func background(
        _ settings: BackgroundSettings, _ repository: Repository, _ logger: Logger
    ) throws -> BackgroundWork {
        // One for good: it remembers what can not be measured.
        let measuring = Measuring(repository, domain: .standard)
        var duties = [
            BackgroundWork.Duty(name: "measuring", pauseSeconds: 1) { _ in
                try measuring.isDue() ? measuring : nil
            }
        ]
        if settings.collectSeconds > 0 {
            duties.append(
                BackgroundWork.Duty(
                    name: "collection", pauseSeconds: settings.collectSeconds, makesRoom: true
                ) { try Collector($0) })
        }
        if settings.scrubSeconds > 0 {
            let pace = ScrubPace(seconds: settings.scrubSeconds) { finding in
                logger.warning(
                    "scrub",
                    metadata: [
                        "kind": "\(finding.kind)", "ref": "\(finding.name)",
                        "digest": "\(finding.digest?.description ?? "")",
                        "text": "\(finding.text)",
                    ])
            }
            duties.append(
                BackgroundWork.Duty(name: "scrub", pauseSeconds: pace.pauseSeconds) {
                    try pace.slice($0)
                })
        }
        return try BackgroundWork(
            repository, duties: duties, bytesPerSecond: settings.bytesPerSecond,
            onFailure: { name, error in
                logger.error(
                    "background work failed", metadata: ["work": "\(name)", "cause": "\(error)"])
            },
            onEnd: { name, progress in
                // The others have their turn every second.
                guard name == "collection" else { return }
                var metadata: Logger.Metadata = [:]
                for figure in progress.figures { metadata[figure.name] = "\(figure.value)" }
                logger.info("collection", metadata: metadata)
            })
    }

    private static func door(
        _ configuration: ServerConfiguration, _ repository: Repository, _ pool: NIOThreadPool,
        _ identities: IdentityVerifier?, _ clients: ClientStore?
    ) -> Doors {
        var announcement = configuration.announcement
        // Who reaches a loopback server from elsewhere comes through something that needs a token.
        announcement.anonymous =
            (configuration.isLoopback ? .nothing : configuration.anonymous).rawValue
        announcement.audience = configuration.issuers.isEmpty ? "" : configuration.audience
        let metrics = ServerMetrics()
        let door = Door(
            repository: repository,
            access: TokenAccess(repository, configuration, identities, metrics, pool),
            metrics: metrics, pool: pool, announcement: announcement, clients: clients)
        return Doors(
            native: door,
            registry: RegistryDoor(
                door.shared, isTLS: configuration.isTLS,
                publicURL: configuration.announcement.publicURL, clock: SystemClock()))
    }

    private static func application(
        _ configuration: ServerConfiguration, _ door: Doors, _ builder: HTTPServerBuilder,
        _ logger: Logger, _ onReady: @escaping @Sendable (String) -> Void
    ) -> some ApplicationProtocol {
        Application(
            responder: door, server: builder,
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
    }

    private static func access(_ configuration: ServerConfiguration) -> String {
        if configuration.isLoopback { return "open to this machine" }
        return configuration.anonymous == .nothing
            ? "tokens only" : "tokens, and \(configuration.anonymous.rawValue) for everybody"
    }

    private static func builder(_ configuration: ServerConfiguration) throws -> HTTPServerBuilder {
        let plain = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [OldVersionMarker(), ReceiveSizes()],
                idleTimeout: .seconds(idleSeconds)))
        guard let certificatePath = configuration.certificatePath,
            let keyPath = configuration.keyPath
        else { return plain }
        for path in [certificatePath, keyPath] where try DiskFileSystem().status(path) == nil {
            throw CASError(
                .notFound, "no such file",
                hint: "--tls-certificate and --tls-key name PEM files", path: path)
        }
        do {
            var settings = TLSConfiguration.makeServerConfiguration(
                certificateChain: try NIOSSLCertificate.fromPEMFile(certificatePath).map {
                    .certificate($0)
                },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: keyPath, format: .pem)))
            settings.minimumTLSVersion = .tlsv12
            // Made here once, as a key of another certificate would show only when the server binds.
            _ = try NIOSSLContext(configuration: settings)
            return try .tls(plain, tlsConfiguration: settings)
        } catch {
            throw CASError(
                .invalidArgument, "the certificate or the key can not be used",
                hint: "both are PEM files; the key must belong to the certificate", cause: error,
                path: certificatePath)
        }
    }
}

/// The doors of a server behind one address, told apart by the path.
struct Doors: HTTPResponder {
    let native: Door
    let registry: RegistryDoor

    func respond(to request: Request, context: DoorContext) async throws -> Response {
        RegistryDoor.isFor(request.uri.path)
            ? try await registry.respond(to: request, context: context)
            : try await native.respond(to: request, context: context)
    }
}

/// Lets requests that wait for a ref go once the server is to end, so that it need not wait for them.
private struct WaitingRequests: Service {
    let door: Doors

    func run() async throws {
        try await gracefulShutdown()
        door.native.endWaiting()
    }
}
