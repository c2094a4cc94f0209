import ArgumentParser

/// Flags of every command that talks to a store.
struct StoreFlags: ParsableArguments {
    @Option(help: ArgumentHelp("The server to use.", valueName: "url"))
    var server: String?

    @Option(help: ArgumentHelp("A store in a directory of this machine.", valueName: "dir"))
    var store: String?

    @Option(
        help: ArgumentHelp(
            "How long to wait for a server that is away (CAS_WAIT; 30s where commands wait).",
            valueName: "duration"))
    var wait: String?

    func validate() throws {
        if let wait { _ = try Arguments.wait(wait) }
        if server != nil, store != nil {
            throw ValidationError("--server and --store exclude each other")
        }
        if let server { _ = try Arguments.usage { try ServerAddress(server) } }
    }
}

/// The flag of every command with a result.
struct OutputFlags: ParsableArguments {
    @Flag(help: "Print one JSON document on standard output.")
    var json = false
}
