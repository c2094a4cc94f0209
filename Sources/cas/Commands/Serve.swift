import ArgumentParser
import CASCore
import CASFileSystem
import CASHTTP
import CASRepository
import CASServer
import Glibc

/// `cas serve`.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve a store over HTTP.",
        discussion: """
            On loopback no credentials are needed. Any other address needs tokens and TLS, unless \
            --plaintext and --anonymous say otherwise. Prints the address once it is ready. Ctrl-C ends it \
            when requests in progress are done.

            EXAMPLES:
              cas serve
              cas serve --listen 0.0.0.0:8700 --store /srv/cas --tls-certificate c.pem --tls-key k.pem
              cas serve --listen 0.0.0.0:8700 --plaintext      behind a proxy that does TLS
              cas serve --trust https://kubernetes.default.svc.cluster.local=https://kubernetes.default.svc/openid/v1/jwks
            """)

    @Option(
        help: ArgumentHelp("The address to listen on; port 0 takes any.", valueName: "host:port"))
    var listen = "127.0.0.1:8700"

    @Option(help: ArgumentHelp("The store's directory.", valueName: "dir"))
    var store: String?

    @Option(help: ArgumentHelp("The certificate chain, PEM.", valueName: "file"))
    var tlsCertificate: String?

    @Option(help: ArgumentHelp("The private key, PEM.", valueName: "file"))
    var tlsKey: String?

    @Option(
        name: .customLong("public-url"),
        help: ArgumentHelp("The address that people reach the server by.", valueName: "url"))
    var publicURL: String?

    @Option(
        name: .customLong("cluster-url"),
        help: ArgumentHelp(
            "The address that pods reach it by; manifests name it.", valueName: "url"))
    var clusterURL: String?

    @Option(
        help: ArgumentHelp("The host that nodes pull images from.", valueName: "host[:port]"))
    var registryHost: String?

    @Option(
        help: ArgumentHelp(
            "Trust identity tokens of this issuer, whose keys (JWKS) are there; can be repeated.",
            valueName: "issuer=url|file"))
    var trust: [String] = []

    @Option(help: ArgumentHelp("Whom identity tokens must be for.", valueName: "audience"))
    var audience = "cas"

    @Option(
        help: ArgumentHelp(
            "What identity tokens may do: VERB[,VERB] PREFIX [CLAIM=VALUE ...]; can be repeated.",
            valueName: "rule"))
    var grant: [String] = []

    @Option(
        name: .customLong("collect-every"),
        help: ArgumentHelp(
            "How often what nothing keeps is freed; 0s for never.", valueName: "duration"))
    var collectEvery = "1h"

    @Option(
        name: .customLong("scrub-every"),
        help: ArgumentHelp(
            "In what time everything is read and checked once; 0s for never.",
            valueName: "duration"))
    var scrubEvery = "30d"

    @Option(
        name: .customLong("background-rate"),
        help: ArgumentHelp(
            "Bytes that such work reads and writes in a second.", valueName: "size"))
    var backgroundRate = "32MB"

    @Option(
        help: ArgumentHelp(
            "How long a snapshot that was fetched by digest stays.", valueName: "duration"))
    var protect = "14d"

    @Flag(help: "Serve without TLS on an address that is not loopback.")
    var plaintext = false

    @Option(
        help: ArgumentHelp(
            "What requests without a token may do: read or write.", valueName: "rights"))
    var anonymous: String?

    func validate() throws {
        if (tlsCertificate == nil) != (tlsKey == nil) {
            throw ValidationError("--tls-certificate and --tls-key belong together")
        }
        if plaintext, tlsCertificate != nil {
            throw ValidationError("--plaintext and --tls-certificate exclude each other")
        }
    }

    func run() throws {
        let settings = try Settings.load()
        let directory = try storeDirectory(settings)
        var configuration = ServerConfiguration(
            storeDirectory: directory, threads: max(16, 4 * WorkerGroup.processorCount))
        try Arguments.usage { try configuration.setListen(listen) }
        configuration.certificatePath = tlsCertificate
        configuration.keyPath = tlsKey
        configuration.isPlaintext = plaintext
        configuration.announcement = try announcement()
        try Arguments.usage {
            configuration.background.collectSeconds = UInt64(try Arguments.wait(collectEvery))
            configuration.background.scrubSeconds = UInt64(try Arguments.wait(scrubEvery))
            configuration.background.bytesPerSecond = try Arguments.size(backgroundRate)
            configuration.protectedSeconds = UInt64(try Arguments.duration(protect))
        }
        try setIdentity(&configuration, settings)
        configuration.clientExecutable = clientExecutable
        if let anonymous {
            guard let rights = ServerConfiguration.Anonymous(rawValue: anonymous) else {
                throw ValidationError("--anonymous is 'read' or 'write', not '\(anonymous)'")
            }
            configuration.anonymous = rights
        }
        try Arguments.usage { try configuration.check() }
        // From here on the server decides what a signal means: it ends what is in progress.
        Interruption.remove()
        signal(SIGPIPE, SIG_IGN)
        try Server.run(configuration) { address in
            Console.note("serving the store in \(directory)")
            Console.data(address)
        }
        Console.note("stopped; everything acknowledged is on disk")
    }

    /// The addresses that the server tells, checked, as a wrong one would show in a pod only.
    private func announcement() throws -> ServerAnnouncement {
        var announcement = ServerAnnouncement()
        try Arguments.usage {
            if let publicURL { announcement.publicURL = try ServerAddress(publicURL).url }
            if let clusterURL { announcement.clusterURL = try ServerAddress(clusterURL).url }
            if let registryHost {
                guard let address = try? ServerAddress("https://" + registryHost),
                    address.path.isEmpty, !registryHost.contains("/")
                else {
                    throw CASError(
                        .invalidArgument, "'\(registryHost)' is no host to pull images from",
                        hint: "write registry.example.org or 10.0.0.7:30500, without a scheme")
                }
                announcement.registryHost = registryHost.lowercased()
            }
        }
        return announcement
    }

    private func setIdentity(
        _ configuration: inout ServerConfiguration, _ settings: Settings
    ) throws {
        configuration.audience = audience
        configuration.certificateAuthorities = settings.authorityFile?.value
        configuration.cluster = ClusterAccess(
            host: settings.environment["KUBERNETES_SERVICE_HOST"],
            port: settings.environment["KUBERNETES_SERVICE_PORT"])
        try Arguments.usage {
            configuration.grants = try grant.map { try GrantRule($0) }
            configuration.issuers = try trust.map { text in
                var issuer = try TrustedIssuer(text)
                if case .url(let url) = issuer.source {
                    let address = try ServerAddress(url)
                    issuer.proxy = try ProxyAddress.choose(for: address, settings.environment)?
                        .value
                        .server
                }
                return issuer
            }
        }
    }

    /// This very executable, where it is one that the pods of a job can run.
    private var clientExecutable: String? {
        #if os(Linux) && arch(x86_64)
            return "/proc/self/exe"
        #else
            return nil
        #endif
    }

    private func storeDirectory(_ settings: Settings) throws -> String {
        if let store { return try StoreChoice.absolute(store) }
        if let store = settings.environment["CAS_STORE"] { return try StoreChoice.absolute(store) }
        // A server's own store is not where its clients look: CAS_SERVER and `server:` do not count.
        if let store = settings.user.store { return try StoreChoice.absolute(store) }
        return settings.directories.data.value
    }
}
