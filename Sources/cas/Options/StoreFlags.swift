import ArgumentParser

/// Flags of every command that talks to a store.
struct StoreFlags: ParsableArguments {
    @Option(help: ArgumentHelp("The server to use.", valueName: "url"))
    var server: String?

    @Option(help: ArgumentHelp("A store in a directory of this machine.", valueName: "dir"))
    var store: String?

    func validate() throws {
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
