import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASWire
import Glibc

/// `cas login [SERVER]`.
struct LoginCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login",
        abstract: "Keep a server's token for this user.",
        discussion: """
            Reads the token from the terminal without showing it, from standard input, or from a file; \
            never from the command line, which other users can see. The token is tried, kept in a file of \
            mode 0600 and sent to that server only.

            EXAMPLES:
              cas login https://cas.example.com
              cas login < token.txt
            """)

    @Argument(help: ArgumentHelp("The server; the configured one if left out.", valueName: "url"))
    var server: String?

    @Option(help: ArgumentHelp("The file to read the token from.", valueName: "file"))
    var tokenFile: String?

    func run() throws {
        let settings = try Settings.load()
        let choice = try StoreChoice.choose(
            serverFlag: try server.map(LoginCommand.url), storeFlag: nil, host: nil,
            settings: settings)
        guard case .server(let address, _) = choice else {
            throw CASError(
                .invalidArgument, "no server is named, and none is configured",
                hint: "cas login https://HOST")
        }
        let token = try TokenSource.check(try readToken(address), tokenFile ?? "the input")
        let tokens = TokenSource(fixed: token)
        let store = try RemoteAccess.open(
            address, tokens: tokens, settings: settings, patience: .brief)
        let description = try store.describe()
        try store.close()
        var credentials = try Credentials(path: settings.directories.credentialsFile)
        try credentials.set(token, for: address.authority)
        let scopes = description.scopes.map { printable($0.description) }.joined(separator: " ")
        Console.note("logged in to \(address.url) with the rights: \(scopes)")
        Console.note("the token is kept in \(credentials.path)")
        guard settings.environment["CAS_SERVER"] == nil, settings.user.server == nil else { return }
        Console.note("hint: export CAS_SERVER=\(address.url) makes it the server of all commands")
    }

    private static func url(_ text: String) throws -> String {
        if text.contains("://") { return text }
        return try ServerAddress(host: text).url
    }

    private func readToken(_ address: ServerAddress) throws -> String {
        if let tokenFile {
            guard let bytes = try DiskFileSystem().read(tokenFile, maximumBytes: 64 << 10) else {
                throw CASError(.notFound, "the file does not exist", path: tokenFile)
            }
            return String(decoding: bytes, as: UTF8.self)
        }
        guard Terminal.isTerminal(STDIN_FILENO) else { return readLine() ?? "" }
        Terminal.write(Array("token for \(address.authority): ".utf8), to: STDERR_FILENO)
        let line = Interruption.hidingInput { readLine() ?? "" }
        Console.note("")
        return line
    }
}
