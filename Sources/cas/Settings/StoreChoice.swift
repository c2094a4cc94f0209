import CASCore
import CASFileSystem

/// Which store a command talks to, and who said so.
enum StoreChoice: Sendable {
    case server(ServerAddress, SettingOrigin)
    /// A store on this machine; `isImplicit` if nobody named one.
    case directory(String, SettingOrigin, isImplicit: Bool)

    /// For a person: the address, or the directory.
    var text: String {
        switch self {
        case .server(let address, _): address.url
        case .directory(let path, _, _): path
        }
    }

    /// Who said so.
    var origin: SettingOrigin {
        switch self {
        case .server(_, let origin), .directory(_, let origin, _): origin
        }
    }

    /// Chooses among everything that may name a store, strongest first.
    static func choose(
        serverFlag: String?, storeFlag: String?, host: String?, settings: Settings
    ) throws -> StoreChoice {
        if serverFlag != nil, storeFlag != nil {
            throw CASError(.invalidArgument, "--server and --store exclude each other")
        }
        if let host {
            return try fromReference(
                host, serverFlag: serverFlag, storeFlag: storeFlag, settings: settings)
        }
        if let serverFlag {
            return .server(try ServerAddress(serverFlag), .flag("--server"))
        }
        if let storeFlag {
            return .directory(try absolute(storeFlag), .flag("--store"), isImplicit: false)
        }
        return try configured(settings)
    }

    private static func fromReference(
        _ host: String, serverFlag: String?, storeFlag: String?, settings: Settings
    ) throws -> StoreChoice {
        if storeFlag != nil {
            throw CASError(
                .invalidArgument, "the reference names the server \(host), but --store is given",
                hint: "leave out one of them")
        }
        let fromHost = try ServerAddress(host: host)
        if let serverFlag {
            let address = try ServerAddress(serverFlag)
            guard matches(address, fromHost, text: host) else {
                throw CASError(
                    .invalidArgument, "the reference names \(host), but --server \(address.url)",
                    hint: "leave out one of them")
            }
            return .server(address, .flag("--server"))
        }
        // A server that the settings know by this name comes with its scheme, port and path.
        let known = [settings.environment["CAS_SERVER"], settings.user.server]
        for text in known.compactMap({ $0 }) {
            let address = try ServerAddress(text)
            if matches(address, fromHost, text: host) { return .server(address, .reference) }
        }
        return .server(fromHost, .reference)
    }

    /// Whether a server is the one that a reference names: without a port, by its name alone.
    private static func matches(
        _ address: ServerAddress, _ fromHost: ServerAddress, text: String
    ) -> Bool {
        guard address.host == fromHost.host else { return false }
        let namesPort = text.split(separator: "]").last?.contains(":") == true
        return !namesPort || address.port == fromHost.port
    }

    /// The store of environment, user file or default.
    static func configured(_ settings: Settings) throws -> StoreChoice {
        let server = settings.environment["CAS_SERVER"]
        let store = settings.environment["CAS_STORE"]
        if server != nil, store != nil {
            throw CASError(
                .invalidArgument,
                "both CAS_SERVER and CAS_STORE are set, so it is unclear which to use",
                hint: "unset one of them, or say --server URL or --store DIR")
        }
        if let server {
            return .server(try ServerAddress(server), .environment("CAS_SERVER"))
        }
        if let store {
            return .directory(try absolute(store), .environment("CAS_STORE"), isImplicit: false)
        }
        if let server = settings.user.server {
            return .server(try ServerAddress(server), .userFile(settings.user.path))
        }
        if let store = settings.user.store {
            return .directory(
                try absolute(store), .userFile(settings.user.path), isImplicit: false)
        }
        if let variable = settings.environment.throwawayMachine {
            throw CASError(
                .failedPrecondition,
                "no server is configured, and a store on this machine would be gone after the job "
                    + "(\(variable) is set)",
                hint: "set CAS_SERVER (and CAS_TOKEN), or say --store DIR if that is what you want")
        }
        return .directory(settings.directories.data.value, .builtIn, isImplicit: true)
    }

    /// A directory as an absolute path, so that messages name it wherever they are read.
    ///
    /// Symbolic links, `.` and `..` are resolved as far as the path exists: one place has one name.
    static func absolute(_ path: String) throws -> String {
        var existing = FilePaths.join(try Host.currentDirectory(), path)
        var rest: [String] = []
        while existing.count > 1 {
            if existing.hasSuffix("/") {
                existing.removeLast()
                continue
            }
            do {
                let resolved = try Host.resolve(existing)
                return rest.reversed().reduce(resolved) { FilePaths.join($0, $1) }
            } catch let error as CASError where error.code == .notFound {
                rest.append(FilePaths.name(existing))
                existing = FilePaths.parent(existing)
            }
        }
        return rest.reversed().reduce("/") { FilePaths.join($0, $1) }
    }
}
