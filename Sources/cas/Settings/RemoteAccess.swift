import CASClient
import CASCore

/// Makes the connection to a server out of the settings.
enum RemoteAccess {
    static func open(
        _ address: ServerAddress, tokens: TokenSource, settings: Settings
    ) throws -> any StoreConnection {
        // Asked once now, so that a token file that is not there is named before anything is sent.
        _ = try tokens.token()
        var access = ServerAccess(address: address.url) { try tokens.token() }
        access.certificatesPath = settings.authorityFile?.value
        access.proxy = ProxyAddress.choose(for: address, settings.environment).map {
            "http://\($0.value.text)"
        }
        return RetryingStore(try RemoteStore(access))
    }
}
