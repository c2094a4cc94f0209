import CASCore
import CASFileSystem

/// Which files of a scan may be believed next time.
struct RacyRule {
    /// A file system that stores nanoseconds takes them from a clock that ticks every few
    /// milliseconds; a second covers that and a little disagreement between clocks.
    private static let fineMargin = Int64(1)
    /// One that stores whole (FAT: even) seconds.
    private static let coarseMargin = Int64(3)

    let scanStart: Timestamp

    /// Whether a later change could leave the same times behind: then the digest is not kept.
    func isRacy(_ record: FileRecord) -> Bool {
        isRacy(record.modified) || isRacy(record.changed)
    }

    func isRacy(_ time: Timestamp) -> Bool {
        let margin = time.nanoseconds == 0 ? RacyRule.coarseMargin : RacyRule.fineMargin
        let (limit, overflow) = time.seconds.addingReportingOverflow(margin)
        if overflow { return true }
        return Timestamp(seconds: limit, nanoseconds: time.nanoseconds) >= scanStart
    }
}

/// Encodes a stat cache.
struct StatCacheWriter {
    private let output = ReusableBuffer(capacity: 1 << 20)
    private(set) var fileCount = 0
    private(set) var directoryCount = 0
    private var rule: RacyRule

    init(rule: RacyRule) {
        self.rule = rule
        var header = StatCache.magic
        header.append(StatCache.formatVersion)
        header.append(contentsOf: [UInt8](repeating: 0, count: StatCache.headerBytes - 9))
        output.append(header)
    }

    /// Adds the record of a directory whose subdirectories have records at `children`.
    ///
    /// Returns the offset of its own. Dropped directories have no offset and are left out.
    mutating func append(_ directory: ScannedDirectory, children: [Int: Int]) -> Int {
        let offset = output.count
        output.append(
            [UInt8](repeating: 0, count: StatCache.directoryBytes))
        var files = 0
        for position in directory.files.indices where append(directory, position) { files += 1 }
        let fileBytes = output.count - offset - StatCache.directoryBytes
        var subdirectories = 0
        for reference in directory.subdirectories {
            guard let child = children[reference.directory.index] else { continue }
            var entry = [UInt8(reference.directory.name.count)] + reference.directory.name
            entry.append(littleEndian: UInt64(child))
            output.append(entry)
            subdirectories += 1
        }
        var head: [UInt8] = []
        head.append(littleEndian: directory.device)
        head.append(littleEndian: UInt32(files))
        head.append(littleEndian: UInt32(subdirectories))
        head.append(littleEndian: UInt32(fileBytes))
        let room = UnsafeMutableRawBufferPointer(
            rebasing: output.mutableBytes[offset..<offset + StatCache.directoryBytes])
        room.copyBytes(from: head)
        fileCount += files
        directoryCount += 1
        return offset
    }

    private func append(_ directory: ScannedDirectory, _ position: Int) -> Bool {
        let record = directory.files[position]
        switch record.state {
        case .pending, .vanished: return false
        case .cached, .hashed: break
        }
        // Its digest is worth keeping even where its times are not: a file that proves to be the same
        // needs to be sent to nobody.
        let changed = rule.isRacy(record) ? StatCache.noTime : record.changedSeconds
        let count = Int(record.nameCount)
        output.append(maximum: 1 + count + StatCache.fileBytes) { room in
            room[0] = record.nameCount
            let start = Int(record.nameOffset)
            directory.names.withUnsafeBytes { names in
                UnsafeMutableRawBufferPointer(rebasing: room[1...])
                    .copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: names[start..<start + count]))
            }
            func store<Word: FixedWidthInteger & BitwiseCopyable>(_ word: Word, _ at: Int) {
                room.storeBytes(
                    of: word.littleEndian, toByteOffset: 1 + count + at, as: Word.self)
            }
            store(record.inode, 0)
            store(record.size, 8)
            store(record.modifiedSeconds, 16)
            store(changed, 24)
            store(record.modifiedNanoseconds, 32)
            store(record.changedNanoseconds, 36)
            record.digest.withBytes { digest in
                UnsafeMutableRawBufferPointer(rebasing: room[(1 + count + 40)...])
                    .copyMemory(from: digest)
            }
            return 1 + count + StatCache.fileBytes
        }
        return true
    }

    /// Adds the stores and the trailer; the whole file.
    mutating func finish(
        root: Int, acknowledged: [StatCache.StoreKey: StatCache.Acknowledged]
    ) -> ReusableBuffer {
        let stores = output.count
        var tail: [UInt8] = []
        let known = acknowledged.sorted { $0.key < $1.key }.filter {
            $0.key.server.utf8.count <= Int(UInt16.max)
        }
        tail.append(littleEndian: UInt32(known.count))
        for (key, value) in known {
            tail.append(littleEndian: UInt16(key.server.utf8.count))
            tail.append(contentsOf: key.server.utf8)
            tail.append(identifier: key.incarnation)
            tail.append(digest: value.snapshot)
            tail.append(digest: value.tree)
        }
        for word in [root, stores, fileCount, directoryCount, 0] {
            tail.append(littleEndian: UInt64(word))
        }
        tail.removeLast(4)
        output.append(tail)
        var sum: [UInt8] = []
        sum.append(littleEndian: Checksum.crc32c(output.bytes))
        output.append(sum)
        return output
    }
}

/// Replaces a file at once.
///
/// Not made durable: whoever reads it checks a checksum, and doing without
/// it costs time only.
package enum ScratchFile {
    package static func replace(_ path: String, _ bytes: UnsafeRawBufferPointer) throws {
        let parent = try DirectoryHandle(path: FilePaths.parent(path))
        let name = Array(FilePaths.name(path).utf8)
        let temporary = name + Array(".\(Identifier.random())".utf8)
        do {
            let file = try parent.createFile(temporary)
            try file.write(bytes)
        } catch {
            try parent.removeFile(temporary)
            throw error
        }
        try parent.rename(temporary, to: parent, name)
    }
}
