import CASClient
import CASCore

/// Makes the connection to a server out of the settings.
enum RemoteAccess {
    static func open(
        _ address: ServerAddress, tokens: TokenSource, settings: Settings, isPatient: Bool
    ) throws -> any StoreConnection {
        // Asked once now, so that a token file that is not there is named before anything is sent.
        _ = try tokens.token()
        var access = ServerAccess(address: address.url) { try tokens.token() }
        access.certificatesPath = settings.authorityFile?.value
        access.proxy = try ProxyAddress.choose(for: address, settings.environment).map {
            ServerProxy(
                host: $0.value.host.filter { $0 != "[" && $0 != "]" }, port: $0.value.port,
                user: $0.value.user, password: $0.value.password)
        }
        return RetryingStore(
            try RemoteStore(access),
            attempts: isPatient ? RetryingStore.patientAttempts : RetryingStore.briefAttempts
        ) { error in
            guard isPatient else { return }
            Console.note("\(printable(error.message)); trying again for half a minute")
        }
    }
}
