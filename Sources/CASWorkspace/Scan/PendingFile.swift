package import CASCore
package import CASFileSystem
import CASTree

/// A file whose digest nobody knows yet.
///
/// Whoever takes it reports exactly once what came of it: `finish` or `markVanished`. Any thread may.
package struct PendingFile: Sendable {
    private static let indexBits = 32

    let directory: ScannedDirectory
    let position: Int
    private let handles: HandleCache
    /// What it was when it was listed.
    package let status: FileStatus
    /// The digest that it had at the last scan; nil for a new file.
    package let previous: Digest?

    init(
        directory: ScannedDirectory, position: Int, status: FileStatus, handles: HandleCache
    ) {
        self.directory = directory
        self.position = position
        self.status = status
        self.handles = handles
        let known = directory.files[position].digest
        previous = known == .zero ? nil : known
    }

    /// Its number in the scan, as `ScannedTree` takes it.
    package var index: Int { PendingFile.index(directory.index, position) }

    static func index(_ directory: Int, _ position: Int) -> Int {
        directory << indexBits | position
    }

    static func split(_ index: Int) -> (directory: Int, position: Int) {
        (index >> indexBits, index & (1 << indexBits - 1))
    }

    /// Its name.
    package var name: [UInt8] { Array(directory.name(position)) }

    /// Its path below the root of the scan.
    package var path: [UInt8] { directory.path(of: directory.name(position)) }

    /// Its path for a person.
    package var text: String { PathText.printable(path) }

    /// Opens it, relative to its directory; throws `notFound` once it is gone.
    package func open() throws -> OpenFile {
        try handles.handle(of: directory).openFile(name)
    }

    /// Looks at it again; nil once it is gone.
    package func currentStatus() throws -> FileStatus? {
        try handles.handle(of: directory).status(name)
    }

    /// Sets its digest; `status` is what the open file said before it was read, and again afterwards.
    package func finish(digest: Digest, size: UInt64, status: FileStatus) {
        directory.finish(position, digest: digest, size: size, status: status)
    }

    /// Says that it went away: the tree does without it.
    package func markVanished() {
        directory.files[position].state = .vanished
    }
}
