import CASCore
import CASFileSystem
import CASWorkspace

/// Which Directory and attributes messages a snapshot consists of that a store acknowledged.
///
/// Beside the stat cache: what the root alone would say, if hashing could be undone. Believed only for
/// the very snapshot that was acknowledged; the store checks completeness at the commit anyway, so
/// that a wrong file costs a second request and nothing else.
///
/// Format: "CASKNOW\0", version 1, three zero bytes, count u32, snapshot digest, digests ascending,
/// CRC-32C of all that.
struct KnownMessages {
    private static let magic = Array("CASKNOW\0".utf8)
    private static let formatVersion: UInt8 = 1
    private static let maximumBytes = 256 << 20
    private var digests: Set<Digest>

    /// Nothing is known.
    init() { digests = [] }

    /// What is known of a snapshot; nothing if the file is of another one, damaged or absent.
    init(path: String, snapshot: Digest) {
        digests = []
        guard
            let bytes = try? DiskFileSystem().read(path, maximumBytes: KnownMessages.maximumBytes)
        else { return }
        digests = bytes.withUnsafeBytes { KnownMessages.decode($0, snapshot) } ?? []
    }

    func contains(_ digest: Digest) -> Bool { digests.contains(digest) }

    private static func decode(
        _ bytes: UnsafeRawBufferPointer, _ snapshot: Digest
    ) -> Set<Digest>? {
        let headerBytes = 48
        guard bytes.count >= headerBytes + 4, bytes[..<8].elementsEqual(magic),
            bytes[8] == formatVersion,
            Digest(UnsafeRawBufferPointer(rebasing: bytes[16..<48])) == snapshot
        else { return nil }
        let body = UnsafeRawBufferPointer(rebasing: bytes.dropLast(4))
        let checksum = bytes.loadUnaligned(fromByteOffset: bytes.count - 4, as: UInt32.self)
        let count = bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self).littleEndian
        guard checksum.littleEndian == Checksum.crc32c(body),
            body.count - headerBytes == Int(count) * Digest.byteCount
        else { return nil }
        var digests: Set<Digest> = []
        digests.reserveCapacity(Int(count))
        for offset in stride(from: headerBytes, to: body.count, by: Digest.byteCount) {
            digests.insert(
                Digest(UnsafeRawBufferPointer(rebasing: body[offset..<offset + Digest.byteCount])))
        }
        return digests
    }

    /// Remembers the messages of an acknowledged snapshot.
    static func save(_ digests: [Digest], snapshot: Digest, path: String) throws {
        let distinct = Set(digests).sorted()
        var bytes = magic
        bytes.reserveCapacity(64 + distinct.count * Digest.byteCount)
        bytes.append(contentsOf: [formatVersion, 0, 0, 0])
        bytes.append(littleEndian: UInt32(distinct.count))
        bytes.append(digest: snapshot)
        for digest in distinct { bytes.append(digest: digest) }
        bytes.append(littleEndian: bytes.withUnsafeBytes { Checksum.crc32c($0) })
        try bytes.withUnsafeBytes { try ScratchFile.replace(path, $0) }
    }
}
