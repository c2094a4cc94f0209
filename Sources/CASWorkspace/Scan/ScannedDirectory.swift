import CASCore
import CASFileSystem
import CASTree
import Synchronization

/// What the scan remembers of a file: 80 bytes, so that a million files fit in a laptop's memory.
struct FileRecord {
    enum State: UInt8 {
        /// Nobody knows its digest yet.
        case pending
        /// The stat cache knew its digest.
        case cached
        /// A worker hashed it.
        case hashed
        /// It went away after it was listed.
        case vanished
    }

    let nameOffset: UInt32
    let nameCount: UInt8
    var state: State
    var permissions: UInt16
    var modifiedNanoseconds: UInt32
    var changedNanoseconds: UInt32
    var modifiedSeconds: Int64
    var changedSeconds: Int64
    var size: UInt64
    var inode: UInt64
    /// Of its content; while that is pending, what the stat cache knew of earlier content, or zero.
    var digest: Digest

    init(nameOffset: Int, nameCount: Int, status: FileStatus) {
        self.nameOffset = UInt32(nameOffset)
        self.nameCount = UInt8(nameCount)
        state = .pending
        permissions = status.permissions
        modifiedNanoseconds = status.modified.nanoseconds
        changedNanoseconds = status.changed.nanoseconds
        modifiedSeconds = status.modified.seconds
        changedSeconds = status.changed.seconds
        size = status.size
        inode = status.inode
        digest = .zero
    }

    /// Keeps the file out of the stat cache: its time of change lies in no past.
    mutating func forbidCaching() { changedSeconds = StatCache.noTime }

    var modified: Timestamp {
        Timestamp(seconds: modifiedSeconds, nanoseconds: modifiedNanoseconds)
    }

    var changed: Timestamp {
        Timestamp(seconds: changedSeconds, nanoseconds: changedNanoseconds)
    }

    /// Takes over what an open file said of itself, with the digest of what was read from it.
    mutating func set(_ digest: Digest, size: UInt64, _ status: FileStatus) {
        permissions = status.permissions
        modifiedNanoseconds = status.modified.nanoseconds
        changedNanoseconds = status.changed.nanoseconds
        modifiedSeconds = status.modified.seconds
        changedSeconds = status.changed.seconds
        inode = status.inode
        self.size = size
        self.digest = digest
        state = .hashed
    }
}

/// What the scan remembers of a symbolic link.
struct LinkRecord {
    let name: [UInt8]
    let target: [UInt8]
    let modified: Timestamp
}

/// One directory of a scan and what it holds.
///
/// `@unchecked Sendable`: the worker that lists it writes everything but the files' records before it
/// publishes the object through a queue or the end of the scan; afterwards each record is written by
/// the one worker that hashes that file, and all of it is read only once the workers are joined.
final class ScannedDirectory: @unchecked Sendable {
    enum State {
        case whole
        /// Read for the sake of `--include` only: without entries it does not exist.
        case partial
        /// It went away, or could not be read.
        case dropped
    }

    let parent: ScannedDirectory?
    let index: Int
    let name: [UInt8]
    let depth: Int
    var state: State
    /// The rules of its parent for it; given up once it is listed.
    var scope: IgnoreScope?
    /// Where the stat cache describes it.
    var cacheOffset: Int?

    var permissions: UInt16 = 0o755
    var modified = Timestamp(seconds: 0)
    var device: UInt64 = 0
    /// The names of the files, one behind the other.
    var names: [UInt8] = []
    /// By ascending name.
    private(set) var files = UnsafeMutableBufferPointer<FileRecord>(start: nil, count: 0)
    /// By ascending name.
    var links: [LinkRecord] = []
    /// By ascending name.
    var subdirectories: [ScannedDirectory.Reference] = []
    /// Children whose messages are not made yet.
    let waiting = Atomic<Int>(0)
    /// What assembly made of it.
    var result: AssembledDirectory?

    /// A child without a retain cycle: children hold their parents, the tree holds all of them.
    struct Reference { unowned let directory: ScannedDirectory }

    init(
        parent: ScannedDirectory?, index: Int, name: [UInt8], state: State, scope: IgnoreScope?,
        cacheOffset: Int?
    ) {
        self.parent = parent
        self.index = index
        self.name = name
        self.state = state
        self.scope = scope
        self.cacheOffset = cacheOffset
        depth = parent.map { $0.depth + 1 } ?? 0
    }

    deinit { files.deallocate() }

    /// Takes over the records of its files.
    func setFiles(_ records: [FileRecord]) {
        files.deallocate()
        files = .allocate(capacity: records.count)
        _ = files.initialize(from: records)
    }

    /// Sets the digest of a file, with what the open file said of itself.
    func finish(_ position: Int, digest: Digest, size: UInt64, status: FileStatus) {
        files[position].set(digest, size: size, status)
        // The cache notes one device per directory.
        if status.device != device { files[position].forbidCaching() }
    }

    /// The name of a file.
    func name(_ position: Int) -> ArraySlice<UInt8> {
        let start = Int(files[position].nameOffset)
        return names[start..<start + Int(files[position].nameCount)]
    }

    /// The path below the root of the scan, without a slash at its end; empty for the root.
    var path: [UInt8] {
        var parts: [[UInt8]] = []
        var current = self
        while let parent = current.parent {
            parts.append(current.name)
            current = parent
        }
        return Array(parts.reversed().joined(separator: [Byte.slash]))
    }

    /// The path of an entry below the root of the scan.
    func path(of entry: some Sequence<UInt8>) -> [UInt8] {
        var path = path
        if !path.isEmpty { path.append(Byte.slash) }
        path.append(contentsOf: entry)
        return path
    }
}

/// What assembly makes of a directory.
struct AssembledDirectory {
    let tree: SizedDigest
    let attributes: SizedDigest
    /// The attributes with the time of every directory zero.
    let stable: SizedDigest
    let totals: TreeTotals
}
