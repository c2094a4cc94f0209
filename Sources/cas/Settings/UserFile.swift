import CASCore

/// `$XDG_CONFIG_HOME/cas/config.yaml`: settings of one person on one machine.
struct UserFile: Sendable {
    private static let known = [
        "server", "store", "cache", "cache-size", "ca-file", "client-image",
    ]

    let path: String
    let server: String?
    let store: String?
    let cache: String?
    let cacheSize: UInt64?
    let authorityFile: String?
    let clientImage: String?

    /// Reads it; all values are nil where there is no such file.
    init(path: String) throws {
        self.path = path
        guard let file = try SettingsFile(path: path) else {
            server = nil
            store = nil
            cache = nil
            cacheSize = nil
            authorityFile = nil
            clientImage = nil
            return
        }
        try file.check(
            known: UserFile.known,
            refused: [
                "token": "does not belong here"
            ], hint: "'cas login' keeps tokens in a file of mode 0600; or set CAS_TOKEN")
        server = try file.text("server")
        store = try file.text("store")
        cache = try file.text("cache")
        cacheSize = try file.bytes("cache-size")
        authorityFile = try file.text("ca-file")
        clientImage = try file.text("client-image")
        guard server == nil || store == nil else {
            throw CASError(
                .invalidArgument, "\(path) names both a server and a store",
                hint: "remove one of the lines 'server:' and 'store:'")
        }
    }
}
