import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASImage
import CASOCI
import CASWire
import Synchronization

/// Flags of commands that talk to registries.
struct RegistryFlags: ParsableArguments {
    @Option(
        name: .customLong("plain-http"),
        help: ArgumentHelp(
            "A registry that has no TLS; can be repeated. Those on this machine need none.",
            valueName: "host"))
    var plainHTTP: [String] = []

    @Option(
        help: ArgumentHelp(
            "Which image of an index (this machine's).", valueName: "os/architecture"))
    var platform: String?

    func validate() throws { _ = try chosenPlatform() }

    /// The platform; throws for what is none.
    func chosenPlatform() throws -> ImagePlatform {
        try Arguments.usage { try platform.map { try ImagePlatform($0) } } ?? .standard
    }
}

/// Finds repositories of images: in registries, behind the configured server, or in a store on this machine.
final class ImageAccess {
    private let settings: Settings
    private let registries: RegistryFlags
    private let storeFlags: StoreFlags
    private let connections: WebConnections
    private let credentials: RegistryCredentials
    private let isTold = TellOnce()
    /// The store that names without a host are in, once a command has opened it.
    var store: StoreAccess?
    /// The store of the snapshots where these have a host; else that is `store`.
    var snapshots: StoreAccess?

    init(_ settings: Settings, _ registries: RegistryFlags, _ storeFlags: StoreFlags) {
        self.settings = settings
        self.registries = registries
        self.storeFlags = storeFlags
        let environment = settings.environment
        var trust = WebTrust(certificatesPath: settings.authorityFile?.value) { origin in
            try ProxyAddress.choose(
                for: try ServerAddress(origin.description), environment)?.value.server
        }
        // Public registries and one's own, in one build.
        trust.isAdditional = true
        connections = WebConnections(trust)
        credentials = RegistryCredentials(environment: { environment[$0] }, user: Host.userNumber)
    }

    /// Ends all connections to registries.
    func close() throws { try connections.close() }

    /// An image that somebody typed.
    static func reference(_ text: String) throws -> ImageReference {
        try Arguments.usage { try ImageReference(text) }
    }

    /// The repository of an image.
    func repository(_ reference: ImageReference) throws -> any ImageRepository {
        if reference.host != nil { return try registry(reference) }
        guard let store else {
            throw CASError(.internalError, "a name without a host, and no store was opened")
        }
        switch store.choice {
        case .server(let address, _):
            return try client(
                try RegistryLocation(address: address.url), reference.name, server: address)
        case .directory:
            guard let local = store.connection as? LocalStore else {
                // A dry run without a store.
                return NoImages(name: reference.name)
            }
            let settings = settings
            return LocalImages(local, name: reference.name) {
                settings.provenance(message: "cas image build")
            }
        }
    }

    /// The repository of an image in a registry.
    func registry(_ reference: ImageReference) throws -> RegistryClient {
        guard let host = reference.host else {
            throw ValidationError("'\(reference)' names no registry; write oci://HOST/NAME")
        }
        let configured = try StoreChoice.choose(
            serverFlag: storeFlags.server, storeFlag: storeFlags.store, host: nil,
            settings: settings)
        // A server that is asked with TLS, also on this machine.
        for case .server(let address, _)? in [store?.choice, snapshots?.choice, configured]
        where try address.authority == ServerAddress("http://\(host)").authority {
            return try client(
                try RegistryLocation(address: address.url), reference.name, server: address)
        }
        let isPlain = registries.plainHTTP.contains(host)
        return try client(
            try RegistryLocation(host: host, isPlain: isPlain), reference.name,
            server: try ServerAddress(host: host))
    }

    /// Whether an image goes into the very store that its snapshots are in.
    func isBesideSnapshots(_ reference: ImageReference) throws -> Bool {
        guard let snapshots = snapshots ?? store else { return false }
        if reference.host == nil, self.snapshots == nil { return true }
        switch (snapshots.choice, store?.choice) {
        case (.server(let address, _), let own):
            if let host = reference.host {
                return try isServer(snapshots, address, at: host)
            }
            guard case .server(let other, _)? = own else { return false }
            return other.authority == address.authority
        case (.directory, _): return false
        }
    }

    /// Whether a registry's host is that of a server: it is asked there, or the server says so.
    private func isServer(
        _ access: StoreAccess, _ address: ServerAddress, at host: String
    ) throws -> Bool {
        guard !registries.plainHTTP.contains(host) else {
            return try ServerAddress("http://\(host)").authority == address.authority
        }
        let asked = try ServerAddress(host: host).authority
        if asked == address.authority { return true }
        let description = try access.connection.describe()
        let names = try [description.publicURL, description.clusterURL].filter { !$0.isEmpty }
            .map { try ServerAddress($0).authority }
        return description.registryHost == host.lowercased() || names.contains(asked)
    }

    /// A client with the credentials of `cas login` for the host, else those of docker and podman.
    private func client(
        _ location: RegistryLocation, _ name: String, server: ServerAddress
    ) throws -> RegistryClient {
        let tokens = try TokenSource(for: server, settings: settings)
        let credentials = credentials
        let isTold = isTold
        return RegistryClient(
            location, name: name, connections: connections,
            credentials: {
                if let token = try tokens.token() { return .basic(user: "cas", password: token) }
                return try credentials.credential(host: location.host, name: name)
            },
            onWait: { error in isTold.tell(printable(error.message) + "; trying again") })
    }
}

/// Says each line once.
private final class TellOnce: Sendable {
    private let said = Mutex<Set<String>>([])

    func tell(_ line: String) {
        if said.withLock({ $0.insert(line).inserted }) { Console.note(line) }
    }
}

/// The repository of a store that does not exist yet.
struct NoImages: ImageRepository {
    let name: String
    var host: String? { nil }

    private var absent: CASError { CASError(.notFound, "there is no image '\(name)' yet") }

    func manifest(_ selector: String) throws -> RegistryManifest? { nil }
    func read(
        _ descriptor: Descriptor, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws { throw absent }
    func hasBlob(_ digest: OCIDigest, isWritten: Bool) throws -> Bool { false }
    func upload(
        _ digest: OCIDigest, size: UInt64, mountedFrom sources: [String],
        _ write: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws -> RegistryClient.Placement { throw absent }
    func put(manifest bytes: [UInt8], mediaType: String, as selector: String) throws {
        throw absent
    }
    func tags() throws -> [String]? { nil }
    func referrers(to subject: OCIDigest, artifactType: String?) throws -> [Descriptor] { [] }
}
