package import CASCore
import CASFileSystem
package import CASTree

/// What DEST/.cas/state says: which snapshot lies there and what each of its files looked like.
///
/// Format version 1 (Destination.md): "CASDEST\0", version u8, 7 zero bytes, snapshot digest, snapshot
/// message with its length, count of messages and each with its length, count of directories in
/// pre-order and for each its files' marks, CRC-32C. A state that is damaged or of another version is
/// none: files are then compared by content.
package struct RestoreState: Sendable {
    /// How a file looked after it was written: enough to see that nobody touched it since.
    struct Mark: Hashable, Sendable {
        var inode: UInt64
        var size: UInt64
        var modified: Timestamp
        var changed: Timestamp

        init(_ status: FileStatus) {
            inode = status.inode
            size = status.size
            modified = status.modified
            changed = status.changed
        }

        init(inode: UInt64, size: UInt64, modified: Timestamp, changed: Timestamp) {
            self.inode = inode
            self.size = size
            self.modified = modified
            self.changed = changed
        }

        /// Whether a file looks as it did; content need not be read then.
        func matches(_ status: FileStatus) -> Bool {
            inode != 0 && inode == status.inode && size == status.size
                && modified == status.modified
                && (changed == Mark.none.changed || changed == status.changed)
        }

        /// A file that is not as the snapshot says, because the user wanted to keep his.
        static let none = Mark(
            inode: 0, size: 0, modified: Timestamp(seconds: 0), changed: Timestamp(seconds: 0))
    }

    private static let magic = Array("CASDEST\0".utf8)
    private static let formatVersion: UInt8 = 1
    private static let maximumBytes = 2 << 30

    /// The digest of the snapshot.
    package let snapshotDigest: Digest
    /// The snapshot.
    package let snapshot: Snapshot
    /// Its messages.
    package let contents: TreeContents
    /// Marks of the files of each directory, in pre-order; none for the target of a restore that did
    /// not finish.
    let marks: [[Mark]]
    /// When the state was written.
    private var written = Timestamp(seconds: 0)

    /// The marks, but for those of files that changed in the last moment before the state was
    /// written: one that was edited within a step of the clock would look the same.
    ///
    /// Both times come from one file system, so that a step is all there is between them: 4 or 10 ms
    /// where it stores nanoseconds, up to two seconds where it does not.
    var trustedMarks: [[Mark]] {
        marks.map { list in
            list.map { mark in
                var mark = mark
                if mark.changed != Mark.none.changed, isRacy(mark.changed) { mark.inode = 0 }
                return mark
            }
        }
    }

    private func isRacy(_ changed: Timestamp) -> Bool {
        let seconds = written.seconds.subtractingReportingOverflow(changed.seconds)
        if seconds.overflow || seconds.partialValue > 3 { return changed > written }
        let step: Int64 = changed.nanoseconds == 0 ? 2_000_000_000 : 20_000_000
        return seconds.partialValue * 1_000_000_000 + Int64(written.nanoseconds)
            <= Int64(changed.nanoseconds) + step
    }

    /// Encodes what was restored.
    static func encode(
        _ digest: Digest, _ snapshot: Snapshot, messages: [[UInt8]], marks: [[Mark]]
    ) -> [UInt8] {
        var output = magic
        output.reserveCapacity(
            messages.reduce(0) { $0 + $1.count + 4 } + marks.reduce(0) { $0 + 40 * $1.count + 4 }
                + 512)
        output.append(contentsOf: [formatVersion, 0, 0, 0, 0, 0, 0, 0])
        output.append(digest: digest)
        append(&output, snapshot.encode())
        output.append(littleEndian: UInt32(messages.count))
        for message in messages { append(&output, message) }
        output.append(littleEndian: UInt32(marks.count))
        for directory in marks {
            output.append(littleEndian: UInt32(directory.count))
            for mark in directory {
                output.append(littleEndian: mark.inode)
                output.append(littleEndian: mark.size)
                for time in [mark.modified, mark.changed] {
                    output.append(littleEndian: time.seconds)
                    output.append(littleEndian: time.nanoseconds)
                }
            }
        }
        output.append(littleEndian: output.withUnsafeBytes { Checksum.crc32c($0) })
        return output
    }

    private static func append(_ output: inout [UInt8], _ bytes: [UInt8]) {
        output.append(littleEndian: UInt32(bytes.count))
        output.append(contentsOf: bytes)
    }

    /// Reads a state file; nil if there is none that can be used.
    static func load(_ path: String, limits: Limits) -> RestoreState? {
        // Whatever keeps it from being read: files are then compared by content.
        guard let status = try? DiskFileSystem().status(path),
            let bytes = try? DiskFileSystem().read(path, maximumBytes: maximumBytes),
            var state = try? bytes.withUnsafeBytes({ try RestoreState($0, limits) })
        else { return nil }
        state.written = status.modified
        return state
    }

    private init?(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) throws {
        guard bytes.count >= 64, bytes[..<8].elementsEqual(RestoreState.magic),
            bytes[8] == RestoreState.formatVersion
        else { return nil }
        let body = UnsafeRawBufferPointer(rebasing: bytes.dropLast(4))
        let checksum = bytes.loadUnaligned(fromByteOffset: bytes.count - 4, as: UInt32.self)
        guard checksum.littleEndian == Checksum.crc32c(body) else { return nil }
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: body[16...]))
        snapshotDigest = try reader.digest()
        snapshot = try Snapshot(decoding: try reader.take(Int(try reader.uint32())))
        contents = try TreeContents(limits: limits)
        for _ in 0..<(try reader.uint32()) {
            // Protected by the checksum of the file; hashing names them only.
            let message = try reader.array(Int(try reader.uint32()))
            contents.insert(Digest.of(message), message)
        }
        var marks: [[Mark]] = []
        for _ in 0..<(try reader.uint32()) {
            let count = Int(try reader.uint32())
            guard count <= reader.remaining / 40 else { return nil }
            var list: [Mark] = []
            list.reserveCapacity(count)
            for _ in 0..<count {
                let inode = try reader.uint64()
                let size = try reader.uint64()
                let modified = Timestamp(
                    seconds: Int64(bitPattern: try reader.uint64()),
                    nanoseconds: try reader.uint32())
                let changed = Timestamp(
                    seconds: Int64(bitPattern: try reader.uint64()),
                    nanoseconds: try reader.uint32())
                list.append(Mark(inode: inode, size: size, modified: modified, changed: changed))
            }
            marks.append(list)
        }
        guard reader.isAtEnd else { return nil }
        self.marks = marks
    }
}
