package import CASCore
import CShims
import Glibc

extension DirectoryHandle {
    private static let recordBytes = 64 * 1024
    /// Offsets in `struct linux_dirent64` (getdents64(2)).
    private static let lengthOffset = 16
    private static let typeOffset = 18
    private static let nameOffset = 19

    /// Calls `body` with each entry's name and, where the file system says, its kind; in no order.
    ///
    /// The names are valid during the call only. Owned by one thread at a time, as listing moves the
    /// directory's position. `buffer` may be given to spare an allocation.
    package func list(
        buffer: ReusableBuffer? = nil,
        _ body: (UnsafeRawBufferPointer, FileKind?) throws -> Void
    ) throws {
        try SystemFailure.check("cannot list the directory") { lseek(descriptor, 0, SEEK_SET) }
        let buffer = buffer ?? ReusableBuffer(capacity: DirectoryHandle.recordBytes)
        buffer.resize(to: DirectoryHandle.recordBytes)
        while true {
            let count = try SystemFailure.check("cannot list the directory") {
                cas_getdents(descriptor, buffer.mutableBytes.baseAddress, buffer.count)
            }
            guard count > 0 else { return }
            var rest = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count])
            while rest.count > DirectoryHandle.nameOffset {
                let length = Int(
                    rest.loadUnaligned(
                        fromByteOffset: DirectoryHandle.lengthOffset, as: UInt16.self))
                let type = rest[DirectoryHandle.typeOffset]
                let field = rest[DirectoryHandle.nameOffset..<length]
                let name = UnsafeRawBufferPointer(rebasing: field.prefix { $0 != 0 })
                rest = UnsafeRawBufferPointer(rebasing: rest[length...])
                let isDots =
                    name.count <= 2 && name.allSatisfy { $0 == UInt8(ascii: ".") }
                if !isDots { try body(name, FileKind(directoryRecord: type)) }
            }
        }
    }
}
