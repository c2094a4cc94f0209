import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Synchronization
import Testing

/// A machine in small: a home, workspaces, a store, a server that can be killed, and the built `cas`.
///
/// Any thread may use it.
final class ProcessWorld: Sendable {
    /// What a command did.
    struct Result: Sendable {
        let status: Int32
        let output: String
        let errors: String
        let peakBytes: Int
    }

    /// A command that has been started.
    struct Command: Sendable {
        let process: ChildProcess
        let name: String

        /// Waits for its end.
        func wait() throws -> Result {
            let outcome = process.wait()
            return Result(
                status: outcome.status, output: try text("\(name).output"),
                errors: try text("\(name).errors"), peakBytes: outcome.peakBytes)
        }
    }

    private struct State {
        var commands = 0
        var server: ChildProcess?
    }

    let temporary: TemporaryDirectory
    let executable: String
    /// Outside of the range that the kernel gives to clients, one of which could take it in between.
    let port: Int
    private let state = Mutex(State())

    var root: String { temporary.path }
    var address: String { "http://127.0.0.1:\(port)" }
    /// Arguments that name the server.
    var server: [String] { ["--server", address] }
    /// Arguments that name the store, without a server.
    var local: [String] { ["--store", path("store")] }

    init() throws {
        temporary = try TemporaryDirectory()
        executable = try ProcessWorld.findExecutable()
        port = try ProcessWorld.freePort()
        for name in ["home", "commands"] {
            try DiskFileSystem().createDirectory("\(temporary.path)/\(name)")
        }
    }

    deinit { state.withLock { $0.server?.signal(SIGKILL) } }

    private static func findExecutable() throws -> String {
        if let path = getenv("CAS_EXECUTABLE").map({ String(cString: $0) }), !path.isEmpty {
            return path
        }
        let bundle = try Host.resolve("/proc/self/exe")
        let path = FilePaths.join(FilePaths.parent(bundle), "cas")
        _ = try #require(
            try DiskFileSystem().status(path), "\(path) does not exist: swift build --product cas")
        return path
    }

    private static func freePort() throws -> Int {
        for _ in 0..<1000 {
            let port = Int.random(in: 20_000..<30_000)
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(descriptor) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
            let size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let code = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
            }
            if code == 0 { return port }
        }
        throw CASError(.internalError, "no port is free")
    }

    /// A path below the root in full.
    func path(_ name: String) -> String { FilePaths.join(root, name) }

    // MARK: - Commands

    /// Starts a command.
    ///
    /// `wrapper` is a program with its arguments that runs it, such as one that takes rights away.
    func start(
        _ arguments: [String], environment: [String: String] = [:], wrapper: [String] = []
    ) throws -> Command {
        let number = state.withLock { state in
            state.commands += 1
            return state.commands
        }
        let name = path("commands/\(number)")
        // Nothing of the environment of whoever runs the tests: neither a server nor CI.
        var settings = [
            "HOME": path("home"), "USER": "ann", "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LC_ALL": "C",
        ]
        settings.merge(environment) { $1 }
        let words = wrapper + [executable] + arguments
        let process = try ChildProcess(
            words[0], Array(words.dropFirst()), environment: settings, directory: root,
            output: "\(name).output", errors: "\(name).errors")
        return Command(process: process, name: name)
    }

    /// Runs a command to its end.
    func run(
        _ arguments: [String], environment: [String: String] = [:], wrapper: [String] = []
    ) throws -> Result {
        try start(arguments, environment: environment, wrapper: wrapper).wait()
    }

    /// Runs a command that must succeed; what it printed, without the line's end.
    @discardableResult
    func succeed(
        _ arguments: [String], environment: [String: String] = [:],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
        let result = try run(arguments, environment: environment)
        try #require(
            result.status == 0, "cas \(arguments): \(result.errors)", sourceLocation: sourceLocation
        )
        return result.output.split(separator: "\n").first.map(String.init) ?? ""
    }

    /// Starts another program and waits for it.
    func tool(_ words: [String], directory: String = "") throws -> Result {
        let number = state.withLock { state in
            state.commands += 1
            return state.commands
        }
        let name = path("commands/\(number)")
        let process = try ChildProcess(
            words[0], Array(words.dropFirst()),
            environment: ["HOME": path("home"), "PATH": String(cString: getenv("PATH"))],
            directory: path(directory), output: "\(name).output", errors: "\(name).errors")
        return try Command(process: process, name: name).wait()
    }

    // MARK: - The server

    /// Starts the server on its port, as often as it was killed before, and waits until it answers.
    func startServer(_ arguments: [String] = [], environment: [String: String] = [:]) throws {
        // Others on this machine take ports too, for a moment or two.
        for _ in 0..<50 {
            guard let failure = try tryServer(arguments, environment) else { return }
            guard failure.contains("another program uses the port") else {
                throw CASError(.internalError, "the server did not start: \(failure)")
            }
            usleep(100_000)
        }
        throw CASError(.internalError, "the server's port \(port) does not become free")
    }

    /// Starts the server and waits until it listens; what it said if it ended instead.
    private func tryServer(
        _ arguments: [String], _ environment: [String: String]
    ) throws -> String? {
        let command = try start(
            ["serve", "--listen", "127.0.0.1:\(port)", "--store", path("store")] + arguments,
            environment: environment)
        while try !text("\(command.name).output").contains("\n") {
            guard command.process.isRunning else { return try command.wait().errors }
            usleep(2_000)
        }
        state.withLock { $0.server = command.process }
        return nil
    }

    /// Ends the server as kill -9 does.
    @discardableResult
    func killServer() -> ChildProcess.Outcome? { stopServer(SIGKILL) }

    /// Ends the server with a signal.
    @discardableResult
    func stopServer(_ signal: Int32) -> ChildProcess.Outcome? {
        let server = state.withLock { $0.server.take() }
        server?.signal(signal)
        return server?.wait()
    }

    /// The most bytes that the server had in memory until now.
    var serverPeakBytes: Int { state.withLock { $0.server?.peakBytes ?? 0 } }

    // MARK: - What a store holds

    /// Fetches what `reference` names into a directory and reads that.
    func fetched(
        _ reference: String, _ store: [String], into name: String = "fetched"
    ) throws -> TreeModel {
        try succeed(["fetch", reference, path(name)] + store)
        return try TreeModel(reading: path(name))
    }

    /// The digests that a ref named, the newest first; none for a ref that does not exist.
    func history(_ ref: String, _ store: [String]) throws -> [String] {
        let result = try run(["log", ref, "--json"] + store)
        guard result.status == 0 else {
            // A store that a killed push was about to make is none yet.
            let isAbsent = result.errors.contains(/there is no (ref|store)/)
            try #require(isAbsent, "\(result.errors)")
            return []
        }
        return result.output.matches(of: /"digest": "(sha256:[0-9a-f]{64})"/).map {
            String($0.output.1)
        }
    }
}

/// The text of a file.
func text(_ path: String) throws -> String {
    let file = try DirectoryHandle(path: FilePaths.parent(path))
        .openFile(Array(FilePaths.name(path).utf8))
    let buffer = ReusableBuffer(capacity: 1 << 16)
    while try buffer.append(maximum: 1 << 16, { try file.read(into: $0) }) > 0 {}
    return String(decoding: buffer.bytes, as: UTF8.self)
}
