import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import CASWire
import CASWorkspace

/// A workspace, a local store and a destination, all in one temporary directory.
final class LocalWorld: Sendable {
    let temporary: TemporaryDirectory
    let store: LocalStore
    let ref: RefName
    var workspace: String { temporary.path + "/workspace" }
    var destination: String { temporary.path + "/destination" }

    init() throws {
        temporary = try TemporaryDirectory()
        store = try LocalStore(directory: temporary.path + "/store", create: true)
        ref = try RefName("team/project")
        try DiskFileSystem().createDirectory(workspace)
    }

    func write(_ path: String, _ text: String, permissions: UInt16 = 0o644) throws {
        try write(path, Array(text.utf8), permissions: permissions)
    }

    func write(_ path: String, _ bytes: [UInt8], permissions: UInt16 = 0o644) throws {
        let full = "\(workspace)/\(path)"
        try DiskFileSystem().createDirectory(FilePaths.parent(full))
        let parent = try DirectoryHandle(path: FilePaths.parent(full))
        let name = Array(FilePaths.name(full).utf8)
        try parent.removeFile(name)
        let file = try parent.createFile(name)
        try bytes.withUnsafeBytes { try file.write($0) }
        try file.setPermissions(permissions)
    }

    func makeDirectory(_ path: String) throws {
        try DiskFileSystem().createDirectory("\(workspace)/\(path)")
    }

    func link(_ path: String, _ target: String) throws {
        let parent = try DirectoryHandle(path: FilePaths.parent("\(workspace)/\(path)"))
        try parent.createSymlink(Array(FilePaths.name(path).utf8), target: Array(target.utf8))
    }

    func push(
        to other: (any StoreConnection)? = nil, _ change: (inout PushOptions) -> Void = { _ in }
    ) throws -> PushSummary {
        var options = PushOptions(directory: workspace, ref: ref, workers: 2)
        options.cachePath = temporary.path + "/scan-cache"
        change(&options)
        return try Push.run(options, connection: other ?? store, counters: ProgressCounters())
    }

    func fetch(
        _ want: String? = nil, from other: (any StoreConnection)? = nil,
        _ change: (inout FetchOptions) -> Void = { _ in }
    ) throws -> FetchSummary {
        var options = FetchOptions(
            want: want ?? ref.description, destination: destination, workers: 2)
        change(&options)
        return try Fetch.run(options, connection: other ?? store, counters: ProgressCounters())
    }

    /// How the destination differs from what the ref names.
    func differences(want: String? = nil) throws -> [TreeVerification.Difference] {
        let plan = try store.plan(PlanRequest(want: want ?? ref.description))
        let (snapshot, contents) = try Fetch.messages(
            plan, have: nil, store, ProgressCounters(), .standard)
        return try TreeVerification.run(
            directory: destination, snapshot: snapshot, contents: contents, workers: 2
        ).differences
    }
}

extension SeededGenerator {
    /// Text that compresses a little and does not repeat.
    static func text(seed: UInt64, count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return generator.bytes(count).map { 0x20 + $0 % 64 }
    }
}
