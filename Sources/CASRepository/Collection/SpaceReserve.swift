import CASCatalog
import CASCore
import CASFileSystem
import Synchronization

/// A file of zeros on the store's disk, to be given up when the disk is full: collection and the catalog need
/// some room to make room.
///
/// While it is given up no push takes what it left. Any thread may use it.
final class SpaceReserve: Sendable {
    private static let pieceBytes = 1 << 20
    /// The part of a disk that is kept at most: small ones keep less than asked for, or pushes had nothing.
    private static let shareOfDisk: UInt64 = 8
    /// So many reserves of free space are more than what was given up left.
    private static let plenty: UInt64 = 4
    /// Less than this would not help anybody.
    private static let leastBytes: UInt64 = 256 << 10
    private let fileSystem: any FileSystem
    private let path: String
    private let bytes: UInt64
    private let isReleased = Atomic(false)
    /// Held by whoever makes or removes the file.
    private let turn = Mutex(())

    /// A reserve of so many bytes in a file; none while nobody makes it.
    init(fileSystem: any FileSystem, path: String, bytes: UInt64) {
        self.fileSystem = fileSystem
        self.path = path
        self.bytes = bytes
    }

    /// Whether it was given up and is not there again.
    var wasReleased: Bool { isReleased.load(ordering: .acquiring) }

    /// Bytes that it keeps now.
    var heldBytes: UInt64 { get throws { try fileSystem.size(path) ?? 0 } }

    /// Throws `resourceExhausted` while the space belongs to collection.
    ///
    /// A disk that got much more room, as one that was enlarged, is found out here: nobody may be collecting.
    func admitPush() throws {
        guard isReleased.load(ordering: .acquiring) else { return }
        let enough = SpaceReserve.plenty * bytes
        if try fileSystem.freeBytes(FilePaths.parent(path)) >= enough, try build() { return }
        throw CASError(
            .resourceExhausted, "the store's disk is full, and space is being made",
            hint: "free some: cas rm what is not needed, cas rule set …, or a larger volume",
            path: path)
    }

    /// Makes the file, smaller where the disk is small; whether it is there.
    @discardableResult
    func build() throws -> Bool {
        try turn.withLock { _ in
            let present = try fileSystem.size(path) ?? 0
            let free = try fileSystem.freeBytes(FilePaths.parent(path))
            let wanted = min(bytes, (free + present) / SpaceReserve.shareOfDisk)
            // A disk that has more room than before gets the larger one; little differences are not worth it.
            if present > 0, present >= min(bytes, wanted / 2) {
                isReleased.store(false, ordering: .releasing)
                return true
            }
            guard wanted >= min(bytes, SpaceReserve.leastBytes) else {
                // What little is left is not for pushes either.
                isReleased.store(true, ordering: .releasing)
                return false
            }
            try removeFile()
            do {
                try write(wanted)
            } catch {
                // Half a reserve would only be in the way.
                try? removeFile()
                throw error
            }
            isReleased.store(false, ordering: .releasing)
            return true
        }
    }

    private func write(_ bytes: UInt64) throws {
        let file = try fileSystem.open(path, .create)
        defer { file.close() }
        let zeros = [UInt8](repeating: 0, count: SpaceReserve.pieceBytes)
        var left = bytes
        while left > 0 {
            let count = Int(min(left, UInt64(zeros.count)))
            try zeros.withUnsafeBytes {
                try file.append(UnsafeRawBufferPointer(rebasing: $0[..<count]))
            }
            left -= UInt64(count)
        }
        try file.synchronizeData()
    }

    /// Gives the space up to collection; false if there is none to give.
    func release() throws -> Bool {
        try turn.withLock { _ in
            guard try fileSystem.size(path) != nil else { return false }
            isReleased.store(true, ordering: .releasing)
            try removeFile()
            return true
        }
    }

    /// Takes note that the file was removed to open the store at all.
    func noteReleased() { isReleased.store(true, ordering: .releasing) }

    /// Whether so little is free that a collection needs the reserve.
    var isNeeded: Bool {
        get throws {
            let kept = try fileSystem.size(path) ?? 0
            return try fileSystem.freeBytes(FilePaths.parent(path)) < kept / 2
        }
    }

    private func removeFile() throws {
        do {
            try fileSystem.remove(path)
        } catch let error as CASError where error.code == .notFound {
            // There is none.
        }
    }
}

extension Repository {
    /// Keeps some space for collection from now on, if there is enough; whether it does.
    ///
    /// Where there is not, no push is taken before a collection made some.
    @discardableResult
    package func keepReserve() throws -> Bool {
        let isKept = try reserve.build()
        if !isKept { spaceAlarm.store(true, ordering: .relaxed) }
        return isKept
    }

    /// Gives up the space kept for that, and has the catalog give up its log, which on a small disk may be
    /// most of what is used; false if there is nothing to give up.
    func makeRoom() throws -> Bool {
        guard try reserve.release() else { return false }
        do {
            try catalog.erase()
        } catch let error as CASError where error.code == .resourceExhausted {
            // Then the log stays; what was given up is there all the same.
        }
        return true
    }

    /// Says that the store could be opened only with the space that is kept for collection.
    func reserveWasGivenUp() {
        reserve.noteReleased()
        spaceAlarm.store(true, ordering: .relaxed)
    }

    /// Whether a push failed for lack of space since somebody asked last.
    package func takeSpaceAlarm() -> Bool { spaceAlarm.exchange(false, ordering: .relaxed) }

    /// Runs what makes room, a removal for example, on a full disk with the space that was kept for that.
    func makingRoom<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as CASError where error.code == .resourceExhausted {
            guard try makeRoom() else { throw error }
            spaceAlarm.store(true, ordering: .relaxed)
            return try body()
        }
    }

    /// Runs what a push writes; a full disk is remembered, so that a collection begins soon.
    func writing<Result>(_ body: () throws -> Result) throws -> Result {
        try reserve.admitPush()
        do {
            return try body()
        } catch let error as CASError where error.code == .resourceExhausted {
            spaceAlarm.store(true, ordering: .relaxed)
            throw error
        }
    }
}
