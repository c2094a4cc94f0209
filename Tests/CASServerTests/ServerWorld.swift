import Logging
import CASClient
import CASCore
import CASFileSystem
import CASPack
import CASServer
import CASTestSupport
import CASTree
import CASWire
import CASWorkspace
import Glibc
import Synchronization

/// A server in this process with a store, workspaces and destinations in one temporary directory.
final class ServerWorld: Sendable {
    let temporary: TemporaryDirectory
    let configuration: ServerConfiguration
    private let running: Mutex<RunningServer?>

    init(_ change: (inout ServerConfiguration, TemporaryDirectory) throws -> Void = { _, _ in })
        throws
    {
        signal(SIGPIPE, SIG_IGN)
        temporary = try TemporaryDirectory()
        var configuration = ServerConfiguration(
            storeDirectory: temporary.path + "/store", threads: 8)
        configuration.logLevel = .critical
        configuration.shutdownSeconds = 1
        try configuration.setListen("127.0.0.1:0")
        try change(&configuration, temporary)
        self.configuration = configuration
        running = Mutex(try Server.start(configuration))
    }

    deinit { try? stop() }

    var address: String { running.withLock { $0?.address ?? "" } }

    var port: UInt16 { UInt16(address.split(separator: ":").last ?? "") ?? 0 }

    /// An address in the form 127.0.0.1, whatever the server listens on.
    var loopbackAddress: String { "http://127.0.0.1:\(port)" }

    func stop() throws { try running.withLock { try $0.take()?.stop() } }

    /// Starts it again on a port.
    func start(port: UInt16) throws {
        var configuration = configuration
        configuration.port = Int(port)
        // The kernel may have lent the port to a connection of another test meanwhile.
        for _ in 0..<100 {
            do {
                let server = try Server.start(configuration)
                return running.withLock { $0 = server }
            } catch let error as CASError where error.code == .unavailable {
                Sleep.milliseconds(100)
            }
        }
        let server = try Server.start(configuration)
        running.withLock { $0 = server }
    }

    func remote(token: String? = nil, certificates: String? = nil) throws -> RemoteStore {
        var access = ServerAccess(
            address: address.replacing("0.0.0.0", with: "127.0.0.1"), token: { token })
        access.certificatesPath = certificates
        return try RemoteStore(access)
    }

    /// Runs `body` with a connection and closes it.
    func withRemote<Result>(
        token: String? = nil, certificates: String? = nil, _ body: (RemoteStore) throws -> Result
    ) throws -> Result {
        let remote = try remote(token: token, certificates: certificates)
        let result = Swift.Result { try body(remote) }
        try remote.close()
        return try result.get()
    }

    func raw() throws -> RawConnection { try RawConnection(port: port) }

    func write(_ path: String, _ bytes: [UInt8], in workspace: String = "workspace") throws {
        let full = "\(temporary.path)/\(workspace)/\(path)"
        try DiskFileSystem().createDirectory(FilePaths.parent(full))
        let parent = try DirectoryHandle(path: FilePaths.parent(full))
        let name = Array(FilePaths.name(full).utf8)
        try parent.removeFile(name)
        let file = try parent.createFile(name)
        try bytes.withUnsafeBytes { try file.write($0) }
        try file.setPermissions(0o644)
    }

    @discardableResult
    func push(
        _ ref: String, _ store: any StoreConnection, workspace: String = "workspace"
    ) throws -> PushSummary {
        var options = PushOptions(
            directory: "\(temporary.path)/\(workspace)", ref: try RefName(ref), workers: 2)
        options.cachePath = "\(temporary.path)/\(workspace).cache"
        return try Push.run(options, connection: store, counters: ProgressCounters())
    }

    @discardableResult
    func fetch(
        _ want: String, _ store: any StoreConnection, to destination: String = "destination"
    ) throws -> FetchSummary {
        let options = FetchOptions(
            want: want, destination: "\(temporary.path)/\(destination)", workers: 2)
        return try Fetch.run(options, connection: store, counters: ProgressCounters())
    }

    /// How a destination differs from what a ref names.
    func differences(
        _ want: String, _ store: any StoreConnection, in destination: String = "destination"
    ) throws -> [TreeVerification.Difference] {
        let plan = try store.plan(PlanRequest(want: want))
        let (snapshot, contents) = try Fetch.messages(
            plan, have: nil, store, ProgressCounters(), .standard)
        return try TreeVerification.run(
            directory: "\(temporary.path)/\(destination)", snapshot: snapshot, contents: contents,
            workers: 2
        ).differences
    }

    /// A token of these scopes, made by somebody who may.
    func token(_ scopes: String..., expires: Timestamp? = nil) throws -> String {
        try withAdministrator { admin in
            try admin.createToken(
                TokenRequest(
                    name: "test", scopes: try scopes.map { try TokenScope($0) }, expires: expires)
            ).secret
        }
    }

    /// On loopback everybody may manage tokens; elsewhere a test brings its own.
    func withAdministrator<Result>(_ body: (RemoteStore) throws -> Result) throws -> Result {
        try withRemote(token: nil, body)
    }
}

/// Bytes of a process in memory, of this one unless another is named.
func residentBytes(of process: String = "self") throws -> Int {
    let descriptor = open("/proc/\(process)/statm", O_RDONLY)
    defer { close(descriptor) }
    var text = [UInt8](repeating: 0, count: 256)
    let count = read(descriptor, &text, text.count)
    let words = String(decoding: text.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
    guard words.count > 1, let pages = Int(words[1]) else {
        throw CASError(.internalError, "/proc/\(process)/statm is not what it was")
    }
    return pages * 4096
}

/// The code of the error that `body` throws; nil if it throws none.
func code(_ body: () throws -> Void) -> CASError.Code? {
    do {
        try body()
        return nil
    } catch {
        return (error as? CASError)?.code ?? .unknown
    }
}

/// What a call failed with; nil if it did not, or with an error of somebody else's.
func failure<Value>(_ result: Result<Value, any Error>) -> CASError? {
    guard case .failure(let error) = result else { return nil }
    return error as? CASError
}

/// Content that a test can make again.
func content(seed: UInt64, count: Int) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return generator.bytes(count)
}
