import CASCore
import CShims
import Glibc

/// What the kernel says of a directory that is watched (inotify(7)).
package struct FileEvent: Hashable, Sendable {
    /// Which watch it is about; -1 where events were lost.
    package let watch: Int32
    /// What happened.
    package let kinds: Kinds
    /// The entry of the directory that it happened to; empty for the directory itself.
    package let name: [UInt8]

    /// What may have happened.
    package struct Kinds: OptionSet, Hashable, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }

        /// An entry was written to, or its mode or times changed.
        package static let content = Kinds(rawValue: 0x2 | 0x4 | 0x8)
        /// An entry came or went, or the directory itself did.
        package static let names = Kinds(rawValue: 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800)
        /// Events were lost: anything may have happened.
        package static let overflow = Kinds(rawValue: 0x4000)
        /// The watch is over.
        package static let ended = Kinds(rawValue: 0x8000)
    }

    private static let headerBytes = 16

    /// Decodes what one read gave; throws `dataLoss` for bytes that are no whole events.
    package static func decode(_ bytes: UnsafeRawBufferPointer) throws -> [FileEvent] {
        var events: [FileEvent] = []
        var rest = bytes
        while rest.count > 0 {
            guard rest.count >= headerBytes else { throw cut() }
            let watch = rest.loadUnaligned(fromByteOffset: 0, as: Int32.self)
            let mask = rest.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
            let length = Int(rest.loadUnaligned(fromByteOffset: 12, as: UInt32.self))
            guard length <= rest.count - headerBytes else { throw cut() }
            let field = rest[headerBytes..<headerBytes + length]
            events.append(
                FileEvent(
                    watch: watch, kinds: Kinds(rawValue: mask),
                    name: Array(field.prefix { $0 != 0 })
                ))
            rest = UnsafeRawBufferPointer(rebasing: rest[(headerBytes + length)...])
        }
        return events
    }

    private static func cut() -> CASError {
        CASError(.dataLoss, "the kernel's report of changes is cut short")
    }
}

/// Tells of changes in directories.
///
/// Any thread may add watches; one waits.
package final class FileEvents: Sendable {
    private static let bufferBytes = 64 << 10
    private static let mask: UInt32 =
        FileEvent.Kinds.content.union(.names).rawValue | 0x0100_0000  // IN_ONLYDIR
    /// Becomes readable when something happened.
    package let descriptor: Int32

    private init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { _ = Glibc.close(descriptor) }

    /// A new set of watches; nil where the system has none, or no more of them.
    package static func open() -> FileEvents? {
        #if os(Linux)
            let descriptor = cas_events_open()
            return descriptor < 0 ? nil : FileEvents(descriptor)
        #else
            return nil
        #endif
    }

    /// Watches a directory and returns the number of the watch; the same for one that is watched already.
    ///
    /// Throws `resourceExhausted` where there can be no more watches.
    package func watch(_ directory: DirectoryHandle) throws -> Int32 {
        // By descriptor: whatever was renamed meanwhile, it is this directory that is watched.
        try watch(path: "/proc/self/fd/\(directory.descriptor)")
    }

    /// Watches the directory at a path.
    package func watch(path: String) throws -> Int32 {
        try SystemFailure.check("cannot watch the directory", path: path) {
            cas_events_watch(descriptor, path, FileEvents.mask)
        }
    }

    /// Ends a watch; no effect for one that ended.
    package func unwatch(_ watch: Int32) { _ = cas_events_unwatch(descriptor, watch) }

    /// What happened since the last call; empty if nothing did.
    package func read() throws -> [FileEvent] {
        let buffer = ReusableBuffer(capacity: FileEvents.bufferBytes)
        buffer.resize(to: FileEvents.bufferBytes)
        let count = Glibc.read(descriptor, buffer.mutableBytes.baseAddress, buffer.count)
        guard count >= 0 else {
            guard errno == EAGAIN || errno == EINTR else {
                throw SystemFailure.error(errno, "cannot read what changed")
            }
            return []
        }
        return try FileEvent.decode(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
    }

    /// How many directories one user may watch here; nil where nobody says.
    package static var limit: Int? {
        var bytes = [UInt8](repeating: 0, count: 32)
        // For a message only: where it can not be read, the message does without.
        guard let file = try? OpenFile(reading: "/proc/sys/fs/inotify/max_user_watches"),
            let count = try? bytes.withUnsafeMutableBytes({ try file.read(into: $0) })
        else { return nil }
        return Int(String(decoding: bytes[..<count].filter { $0 > 0x20 }, as: UTF8.self))
    }
}
