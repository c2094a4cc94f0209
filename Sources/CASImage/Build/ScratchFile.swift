import CASCore
import CASFileSystem

/// Files without a name, so that nothing of them stays however this ends.
enum ScratchFile {
    private static let pieceBytes = 1 << 18

    /// A file in a directory, which is made if it is not there.
    static func make(in directory: String) throws -> any StoreFile {
        try DiskFileSystem().createDirectory(directory)
        let path = FilePaths.join(directory, "layer.\(Identifier.random())")
        let file = try DiskFileSystem().open(path, .create)
        do { try DiskFileSystem().remove(path) } catch {
            file.close()
            throw error
        }
        return file
    }

    /// Reads a part of one piece by piece.
    static func read(
        _ file: any StoreFile, _ range: Range<UInt64>,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(pieceBytes, max(range.count, 1)), alignment: 16)
        defer { buffer.deallocate() }
        var position = range.lowerBound
        while position < range.upperBound {
            let rest = Int(min(UInt64(buffer.count), range.upperBound - position))
            let count = try file.read(
                at: position, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<rest]))
            guard count > 0 else {
                throw CASError(.dataLoss, "a temporary file is shorter than what was written to it")
            }
            try sink(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            position += UInt64(count)
        }
    }
}
