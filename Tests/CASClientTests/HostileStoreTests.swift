import CASClient
import CASCompression
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASTree
import CASWire
import CASWorkspace
import Testing

/// A fetch from a store that lies: nothing wrong gets a name, and nothing leaves the destination.
@Suite struct HostileStoreTests {
    // MARK: - Contents

    /// What a store may do to the stream of a large file: its list and its chunks.
    enum Lie: String, CaseIterable {
        case permutedChunks, permutedList, shortenedList, foreignList, foreignChunk, missingChunk
        case repeatedChunk, missingList, missingFile
        /// List and chunks agree with each other: only the hash of the whole file tells.
        case permutedTogether

        func apply(_ records: [HostileStore.Record]) -> [HostileStore.Record] {
            var records = records
            let chunks = records.indices.filter {
                records[$0].kind == .chunk && records[$0].bytes.count > 10_000
            }
            let list = records.firstIndex { $0.kind == .chunkList }
            guard chunks.count > 3, let list else { return records }
            switch self {
            case .permutedChunks: records.swapAt(chunks[0], chunks[1])
            case .permutedTogether:
                records.swapAt(chunks[0], chunks[1])
                Self.changeList(&records[list]) { $0.swapAt(0, 1) }
            case .permutedList: Self.changeList(&records[list]) { $0.swapAt(0, 1) }
            case .shortenedList: Self.changeList(&records[list]) { $0.removeLast() }
            case .foreignList: Self.changeList(&records[list]) { $0[0] = $0[1] }
            case .foreignChunk:
                // The other's bytes under this one's name.
                let other = HostileStore.Record(
                    .chunk, records[chunks[0]].digest, [UInt8](repeating: 7, count: 100_000))
                records[chunks[0]] = other
            case .missingChunk: records.remove(at: chunks[1])
            case .repeatedChunk: records.insert(records[chunks[0]], at: chunks[0])
            case .missingList: records.remove(at: list)
            case .missingFile: records.removeAll { $0.kind == .chunk || $0.kind == .chunkList }
            }
            return records
        }

        private static func changeList(
            _ record: inout HostileStore.Record, _ change: (inout [ChunkList.Term]) -> Void
        ) {
            var terms: [ChunkList.Term] = []
            var decoder = RecordStreamDecoder()
            do {
                try record.bytes.withUnsafeBytes { bytes in
                    try decoder.push(bytes) { view in
                        var decompressed = [UInt8](repeating: 0, count: view.header.rawLength)
                        try decompressed.withUnsafeMutableBytes {
                            try Decompressor().decode(
                                view.payload, codec: view.header.codec,
                                rawLength: view.header.rawLength, into: $0)
                        }
                        terms = try decompressed.withUnsafeBytes {
                            try ChunkList(decoding: $0, limits: .standard).terms
                        }
                    }
                }
            } catch { Issue.record("the list can not be read: \(error)") }
            change(&terms)
            record = HostileStore.Record(
                .chunkList, record.digest, ChunkList(terms: terms).encode())
        }
    }

    @Test(arguments: Lie.allCases)
    func `a stream that does not compose the file is found`(lie: Lie) throws {
        let world = try LocalWorld()
        let content = SeededGenerator.text(seed: 1, count: 5_000_000)
        try world.write("large", content)
        try world.write("small", "small")
        _ = try world.push()
        let hostile = HostileStore(world.store, data: lie.apply)
        var options = FetchOptions(
            want: world.ref.description, destination: world.destination, workers: 2)
        options.connections = 1
        let failure = error {
            _ = try Fetch.run(options, connection: hostile, counters: ProgressCounters())
        }
        #expect(failure?.code == .dataLoss, "\(lie.rawValue): \(String(describing: failure))")
        let root = try DirectoryHandle(path: world.destination)
        #expect(try root.status(Array("large".utf8)) == nil, "\(lie.rawValue)")
        // An honest store mends it.
        _ = try world.fetch()
        #expect(try world.differences() == [])
    }

    // MARK: - Names

    /// Directory messages that no push would make, field by field (REAPI's Directory).
    enum Message: String, CaseIterable {
        case parent, slash, empty, current, absolute, nul, twice, linkAndDirectory, state
        /// What a push makes: this one shows that the others are refused for their names.
        case harmless

        /// The message of the root; `evil` is a directory with one file that is in the store.
        func encode(file: [UInt8], directory: [UInt8]) -> [UInt8] {
            func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
                precondition(bytes.count < 128)
                return [number << 3 | 2, UInt8(bytes.count)] + bytes
            }
            func node(_ number: UInt8, _ name: String, _ digest: [UInt8]) -> [UInt8] {
                field(number, field(1, Array(name.utf8)) + field(2, digest))
            }
            func link(_ name: String, _ target: String) -> [UInt8] {
                field(3, field(1, Array(name.utf8)) + field(2, Array(target.utf8)))
            }
            switch self {
            case .parent: return node(2, "..", directory)
            case .slash: return node(1, "../evil", file)
            case .empty: return node(1, "", file)
            case .current: return node(2, ".", directory)
            case .absolute: return node(1, "/tmp/evil", file)
            case .nul: return node(1, "a\0b", file)
            case .twice: return node(1, "a", file) + node(1, "a", file)
            case .linkAndDirectory: return node(2, "a", directory) + link("a", "..")
            case .state: return node(2, ".cas", directory)
            case .harmless: return node(1, "a", file) + node(2, "b", directory)
            }
        }
    }

    @Test(arguments: Message.allCases)
    func `a tree whose names lead elsewhere is refused before anything is written`(
        message: Message
    ) throws {
        let world = try LocalWorld()
        try world.write("folder/evil", "evil")
        _ = try world.push()
        let digest = Digest.of(Array("evil".utf8))
        let file = Self.digestMessage(digest, size: 4)
        let folder =
            [UInt8]([0x0a, UInt8(6 + file.count + 2)]) + [0x0a, 4] + Array("evil".utf8)
            + [0x12, UInt8(file.count)] + file
        let directory = Self.digestMessage(Digest.of(folder), size: folder.count)
        let root = message.encode(file: file, directory: directory)
        let snapshot = Snapshot(
            tree: SizedDigest(digest: Digest.of(root), size: UInt64(root.count)),
            attributes: nil, stableAttributes: nil,
            totals: message == .harmless
                ? TreeTotals(files: 2, directories: 2, bytes: 8)
                : TreeTotals(files: 1, directories: 2, bytes: 4))
        let hostile = HostileStore(
            world.store,
            plan: { plan in
                plan.snapshot = snapshot.digest
                plan.snapshotMessage = snapshot.encode()
            },
            tree: { records in
                [
                    HostileStore.Record(.snapshot, snapshot.digest, snapshot.encode()),
                    HostileStore.Record(.directory, Digest.of(root), root),
                    HostileStore.Record(.directory, Digest.of(folder), folder),
                ] + records.filter { $0.kind == .end }
            })
        let before = try DiskFileSystem().list(world.temporary.path).sorted()
        let options = FetchOptions(
            want: world.ref.description, destination: world.destination, workers: 2)
        let failure = error {
            _ = try Fetch.run(options, connection: hostile, counters: ProgressCounters())
        }
        if message == .harmless {
            #expect(failure == nil, "\(String(describing: failure))")
            #expect(try DiskFileSystem().list(world.destination + "/b") == ["evil"])
            return
        }
        // A directory of ours in somebody's tree is no damage.
        let code = message == .state ? CASError.Code.failedPrecondition : .dataLoss
        #expect(failure?.code == code, "\(message.rawValue): \(String(describing: failure))")
        let after = try DiskFileSystem().list(world.temporary.path).sorted()
        #expect(Set(after).subtracting(before).isSubset(of: ["destination"]))
        if after.contains("destination") {
            #expect(try DiskFileSystem().list(world.destination).allSatisfy { $0 == ".cas" })
        }
        #expect(try DiskFileSystem().status("/tmp/evil") == nil)
    }

    /// REAPI's Digest: the hash as text, and the size.
    private static func digestMessage(_ digest: Digest, size: Int) -> [UInt8] {
        [0x0a, 64] + Array(digest.hexadecimal.utf8) + [0x10, UInt8(size)]
    }

    /// What `body` throws.
    private func error(_ body: () throws -> Void) -> CASError? {
        do {
            try body()
            return nil
        } catch {
            return error as? CASError ?? CASError(.unknown, "\(error)")
        }
    }
}
