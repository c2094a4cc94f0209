import CASClient
import CASCore
import CASFileSystem
import CASRepository

/// A store that a command talks to.
struct StoreAccess {
    let connection: any StoreConnection
    let choice: StoreChoice
    let settings: Settings

    /// For a person: what a command says when something stayed on this machine.
    var localNotice: String? {
        guard case .directory(let path, _, _) = choice else { return nil }
        return "stored in \(path) on this machine; nothing was uploaded"
    }
}

extension StoreFlags {
    /// Opens the store that flags, reference and settings name, and closes it after `body`.
    ///
    /// Who is patient waits for a server that is started anew, and is told so.
    /// With `create`, a local store is made where there is none; a dry run makes none and sees an empty one.
    /// With `isForeign` a local store checks what is brought into it.
    func withStore<Result>(
        host: String? = nil, create: Bool = false, isDryRun: Bool = false,
        isPatient: Bool = false, isForeign: Bool = false, settings: Settings,
        _ body: (StoreAccess) throws -> Result
    ) throws -> Result {
        let choice = try StoreChoice.choose(
            serverFlag: server, storeFlag: store, host: host, settings: settings)
        switch choice {
        case .directory(let path, _, let isImplicit):
            if isDryRun, try !StoreLocation.exists(path) {
                return try body(
                    StoreAccess(
                        connection: EmptyStore(location: path), choice: choice, settings: settings))
            }
            let store: LocalStore
            do {
                store = try LocalStore(
                    directory: path, create: create && !isDryRun, isTrusted: !isForeign)
            } catch let error as CASError where error.code == .notFound && isImplicit {
                throw CASError(
                    .notFound,
                    "no server is configured, and nothing was pushed on this machine yet",
                    hint: "set CAS_SERVER or say --server URL; cas push creates \(path)")
            }
            return try StoreFlags.closing(
                StoreAccess(connection: store, choice: choice, settings: settings), body)
        case .server(let address, _):
            let tokens = try TokenSource(for: address, settings: settings)
            do {
                let store = try RemoteAccess.open(
                    address, tokens: tokens, settings: settings,
                    patience: try patience(isPatient, settings))
                return try StoreFlags.closing(
                    StoreAccess(connection: store, choice: choice, settings: settings), body)
            } catch var error as CASError {
                if let withheld = tokens.withheld,
                    error.code == .unauthenticated || error.code == .permissionDenied
                {
                    error.hint = withheld
                }
                // A reference has no scheme, so there is nothing to mend in it.
                if choice.origin == .reference, !address.isSecure, error.code != .notFound,
                    error.message.contains(address.url)
                {
                    error.hint =
                        "a HOST on this machine is asked by http; if the server has TLS, add "
                        + "--server https://\(address.authority)"
                }
                throw error
            }
        }
    }

    /// How long to wait for a server: what `--wait` says; for who is patient what CAS_WAIT says, else
    /// half a minute.
    private func patience(_ isPatient: Bool, _ settings: Settings) throws -> Patience {
        if let wait { return .seconds(try Arguments.wait(wait)) }
        guard isPatient else { return .brief }
        guard let text = settings.environment["CAS_WAIT"] else { return .standard }
        return .seconds(try Arguments.wait(text, from: "CAS_WAIT: "))
    }

    private static func closing<Result>(
        _ access: StoreAccess, _ body: (StoreAccess) throws -> Result
    ) throws -> Result {
        let result: Result
        do { result = try body(access) } catch var error as CASError {
            do { try access.connection.close() } catch _ {}
            if error.code == .notFound, error.message.hasPrefix("there is no ref '"),
                error.message.hasSuffix("'")
            {
                error.message += " in \(access.choice.text)"
            }
            throw error
        } catch {
            // The first error says what went wrong; one of closing after it says nothing more.
            do { try access.connection.close() } catch _ {}
            throw error
        }
        try access.connection.close()
        return result
    }
}
