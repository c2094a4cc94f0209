package import CASCore

extension ScannedTree {
    /// Seconds for which a change counts as of a moment ago: file systems with coarse clocks, and other
    /// machines' clocks.
    private static let recentSeconds: Int64 = 3

    /// A digest of everything that the scan saw of names, kinds, modes, times and sizes.
    package func fingerprint() -> Digest {
        var bytes: [UInt8] = []
        var hasher = DigestHasher()
        func add(_ name: some Sequence<UInt8>) {
            bytes.append(contentsOf: name)
            bytes.append(0)
        }
        for directory in directories.sorted(by: { $0.path.lexicographicallyPrecedes($1.path) })
        where directory.state != .dropped {
            add(directory.path)
            bytes.append(littleEndian: UInt32(directory.permissions))
            append(directory.modified, &bytes)
            for position in directory.files.indices {
                let record = directory.files[position]
                add(directory.name(position))
                bytes.append(littleEndian: UInt32(record.permissions))
                bytes.append(littleEndian: record.size)
                bytes.append(littleEndian: record.inode)
                append(record.modified, &bytes)
                append(record.changed, &bytes)
                let isRecent = record.changed.seconds >= start.seconds - Self.recentSeconds
                bytes.append(isRecent ? 1 : 0)
            }
            for link in directory.links {
                add(link.name)
                add(link.target)
                append(link.modified, &bytes)
            }
            bytes.withUnsafeBytes { hasher.update($0) }
            bytes.removeAll(keepingCapacity: true)
        }
        return hasher.finish()
    }

    private func append(_ time: Timestamp, _ bytes: inout [UInt8]) {
        bytes.append(littleEndian: time.seconds)
        bytes.append(littleEndian: time.nanoseconds)
    }
}
