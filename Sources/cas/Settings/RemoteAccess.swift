import CASClient
import CASCore

extension ProxyAddress {
    /// The proxy as a client takes it.
    var server: ServerProxy {
        ServerProxy(
            host: host.filter { $0 != "[" && $0 != "]" }, port: port, user: user,
            password: password)
    }
}

/// Makes the connection to a server out of the settings.
enum RemoteAccess {
    static func open(
        _ address: ServerAddress, tokens: TokenSource, settings: Settings, patience: Patience
    ) throws -> any StoreConnection {
        // Asked once now, so that a token file that is not there is named before anything is sent.
        _ = try tokens.token()
        var access = ServerAccess(address: address.url) { try tokens.token() }
        access.certificatesPath = settings.authorityFile?.value
        access.proxy = try ProxyAddress.choose(for: address, settings.environment)?.value.server
        return RetryingStore(try RemoteStore(access), patience: patience) { error in
            guard case .seconds(let seconds) = patience else { return }
            Console.note("\(printable(error.message)); trying again for up to \(seconds) s")
        }
    }
}
