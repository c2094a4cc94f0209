import CASCore
import CASFileSystem
import CASTestSupport
import Testing

/// The implementations that one suite runs over.
enum FileSystemKind: CaseIterable, Sendable {
    case disk
    case simulated
}

/// What every FileSystem has to do: fault tests prove something about disks only as far as the
/// simulated one behaves like a disk.
@Suite struct FileSystemConformanceTests {
    /// A file system and an empty directory in it.
    private struct Place {
        let fileSystem: any FileSystem
        let path: String
        private let directory: TemporaryDirectory?

        init(_ kind: FileSystemKind) throws {
            directory = kind == .disk ? try TemporaryDirectory("cas-files-") : nil
            fileSystem = kind == .disk ? DiskFileSystem() : SimulatedFileSystem()
            path = directory?.path ?? "/store"
            try fileSystem.createDirectory(path)
        }

        func file(_ name: String, _ content: [UInt8] = []) throws -> any StoreFile {
            let file = try fileSystem.open("\(path)/\(name)", .create)
            try append(file, content)
            return file
        }

        func append(_ file: any StoreFile, _ content: [UInt8]) throws {
            try content.withUnsafeBytes { try file.append($0) }
        }

        func read(_ name: String) throws -> [UInt8]? {
            try fileSystem.read("\(path)/\(name)", maximumBytes: 1 << 20)
        }
    }

    private func read(_ file: any StoreFile, at offset: UInt64, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        let done = try bytes.withUnsafeMutableBytes { try file.read(at: offset, into: $0) }
        return Array(bytes[..<done])
    }

    private func expect(_ code: CASError.Code, _ body: () throws -> Void) {
        let error = #expect(throws: CASError.self) { try body() }
        #expect(error?.code == code)
    }

    @Test(arguments: FileSystemKind.allCases)
    func `a file takes bytes at its end and gives them anywhere`(kind: FileSystemKind) throws {
        let place = try Place(kind)
        let file = try place.file("a", [1, 2, 3])
        try place.append(file, [])
        try place.append(file, [4, 5])
        try file.synchronizeData()
        #expect(try file.size() == 5)
        #expect(try read(file, at: 0, 9) == [1, 2, 3, 4, 5])
        #expect(try read(file, at: 3, 1) == [4])
        #expect(try read(file, at: 4, 0) == [])
        #expect(try read(file, at: 5, 4) == [], "at the end")
        #expect(try read(file, at: 99, 4) == [], "behind the end")
        try file.truncate(to: 2)
        try place.append(file, [9])
        #expect(try read(file, at: 0, 9) == [1, 2, 9], "later appends go on at the cut")
        file.close()
        file.close()
        let again = try place.fileSystem.open("\(place.path)/a", .readWrite)
        try place.append(again, [7])
        #expect(try place.read("a") == [1, 2, 9, 7], "an opened file is appended to")
        again.close()
    }

    @Test(arguments: FileSystemKind.allCases)
    func `names are made once, renamed over others and removed`(kind: FileSystemKind) throws {
        let place = try Place(kind)
        let (system, path) = (place.fileSystem, place.path)
        try place.file("b", [1]).close()
        try place.file("a", [2, 2]).close()
        expect(.alreadyExists) { _ = try place.file("a") }
        for mode in [FileOpenMode.read, .readWrite] {
            expect(.notFound) { _ = try system.open("\(path)/none", mode) }
        }
        #expect(try system.list(path) == ["a", "b"], "sorted")
        #expect(try system.size("\(path)/a") == 2)
        #expect(try system.size("\(path)/none") == nil)
        let open = try system.open("\(path)/a", .read)
        try system.rename("\(path)/b", to: "\(path)/a")
        try system.synchronizeDirectory(path)
        #expect(try system.list(path) == ["a"])
        #expect(try place.read("a") == [1])
        #expect(try read(open, at: 0, 9) == [2, 2], "who had it open keeps what it was")
        open.close()
        expect(.notFound) { try system.rename("\(path)/b", to: "\(path)/c") }
        try system.remove("\(path)/a")
        expect(.notFound) { try system.remove("\(path)/a") }
        #expect(try system.list(path) == [])
        #expect(try place.read("a") == nil)
    }

    @Test(arguments: FileSystemKind.allCases)
    func `directories are made with those above them, and only theirs are listed`(
        kind: FileSystemKind
    ) throws {
        let place = try Place(kind)
        let (system, path) = (place.fileSystem, place.path)
        try system.createDirectory("\(path)/x/y")
        try system.createDirectory("\(path)/x/y")
        let file = try system.open("\(path)/x/y/f", .create)
        file.close()
        #expect(try system.list("\(path)/x/y") == ["f"])
        #expect(try system.list("\(path)/x") == ["y"])
        expect(.notFound) { _ = try system.list("\(path)/none") }
        expect(.notFound) { _ = try system.open("\(path)/none/f", .create) }
        #expect(try system.freeBytes(path) > 0)
    }

    @Test(arguments: FileSystemKind.allCases)
    func `a lock has one holder until it is closed`(kind: FileSystemKind) throws {
        let place = try Place(kind)
        let first = try place.file("a")
        let second = try place.fileSystem.open("\(place.path)/a", .readWrite)
        #expect(try first.lock())
        #expect(try !second.lock(), "each opening is an owner of its own")
        first.close()
        #expect(try second.lock())
        second.close()
    }

    @Test(arguments: FileSystemKind.allCases)
    func `a file is replaced whole, and nothing else is left`(
        kind: FileSystemKind
    ) throws {
        let place = try Place(kind)
        for content: [UInt8] in [[1, 2], [], [3]] {
            try place.fileSystem.replace("\(place.path)/a", content)
            #expect(try place.read("a") == content)
            #expect(try place.fileSystem.list(place.path) == ["a"])
        }
        expect(.resourceExhausted) {
            _ = try place.fileSystem.read("\(place.path)/a", maximumBytes: 0)
        }
    }
}
