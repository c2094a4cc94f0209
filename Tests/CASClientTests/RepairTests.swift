import CASClient
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASWire
import Testing

/// Repairs of a damaged store from directories.
@Suite struct RepairTests {
    /// Flips a byte in each place of the store's packs where a content stands.
    private func damage(_ content: [UInt8], _ world: LocalWorld) throws {
        var changed = 0
        let fileSystem = DiskFileSystem()
        for name in ["active", "packs"] {
            let directory = "\(world.temporary.path)/store/\(name)"
            for file in try fileSystem.list(directory) where file.hasSuffix(".pack") {
                let path = "\(directory)/\(file)"
                guard var bytes = try fileSystem.read(path, maximumBytes: 1 << 30),
                    let range = bytes.firstRange(of: content)
                else { continue }
                bytes[range.lowerBound] ^= 1
                let open = try fileSystem.open(path, .readWrite)
                defer { open.close() }
                try open.truncate(to: 0)
                try bytes.withUnsafeBytes { try open.append($0) }
                changed += 1
            }
        }
        #expect(changed == 1)
    }

    private func scrub(_ world: LocalWorld, isReport: Bool = false) throws -> MaintenanceState {
        let request = MaintenanceRequest(kind: .scrub, isReport: isReport)
        var state = try world.store.maintain(request)
        while !state.isDone { state = try world.store.maintenance(request.id, seconds: 10) }
        #expect(state.failure == nil)
        return state
    }

    private func repair(
        _ world: LocalWorld, from directory: String
    ) throws -> [RepairedRef] {
        var results: [RepairedRef] = []
        try Repair.run(
            RepairOptions(directory: directory, workers: 2),
            try world.store.refs(prefix: "", after: "", limit: 100).entries,
            connection: world.store, counters: ProgressCounters()
        ) { results.append($0) }
        return results
    }

    @Test func `takes a lost file from wherever the directory has it, and nothing else`() throws {
        let world = try LocalWorld()
        var random = SeededGenerator(seed: 41)
        let lost = random.bytes(5_000)
        try world.write("data/lost.bin", lost)
        try world.write("kept.txt", "kept")
        _ = try world.push()
        try damage(lost, world)
        let state = try scrub(world)
        #expect(state.findings.map(\.kind) == ["record", "ref", "lacks"])
        #expect(state.findings.last?.text == "data/lost.bin")
        // Another directory: the file under another name, ignored there, and things of its own.
        let backup = "\(world.temporary.path)/backup"
        try DiskFileSystem().createDirectory("\(backup)/.venv")
        for (name, bytes) in [
            (".venv/copy", lost), ("other", random.bytes(900)), (".gitignore", Array("x".utf8)),
        ] {
            let file = try DiskFileSystem().open("\(backup)/\(name)", .create)
            try bytes.withUnsafeBytes { try file.append($0) }
            file.close()
        }
        let before = try world.store.usage()
        let results = try repair(world, from: backup)
        #expect(results.map(\.outcome) == [.healed])
        #expect(results.first?.sent == 1 && results.first?.sources == [".venv/copy"])
        #expect(try world.store.usage().blobs == before.blobs + 1)
        #expect(try scrub(world).findings.isEmpty)
        _ = try world.fetch()
        #expect(try world.differences().isEmpty)
        #expect(try repair(world, from: backup).map(\.outcome) == [.whole])
    }

    @Test func `makes lost directories and attributes again from an unchanged workspace`() throws {
        let world = try LocalWorld()
        try world.write("a/b/one.txt", "one")
        try world.write("a/two.txt", "two")
        let summary = try world.push()
        let entry = try #require(try world.store.ref(world.ref))
        let plan = try world.store.plan(PlanRequest(want: world.ref.description))
        var messages: [[UInt8]] = []
        var decoder = RecordStreamDecoder()
        try world.store.readTree(plan: plan.planID) { bytes in
            try decoder.push(bytes) { record in
                if record.header.kind != .end { messages.append(Array(record.payload)) }
            }
        }
        #expect(messages.count == 7)
        for message in messages { try damage(message, world) }
        #expect(try scrub(world)["affectedRefs"] == 1)
        let empty = "\(world.temporary.path)/empty"
        try DiskFileSystem().createDirectory(empty)
        let refused = try repair(world, from: empty)
        #expect(refused.map(\.outcome) == [.lacks] && refused[0].lacking == [summary.snapshot])
        let results = try repair(world, from: world.workspace)
        #expect(results.map(\.outcome) == [.healed], "\(results)")
        #expect(results[0].sent == 7)
        #expect(try world.store.ref(world.ref) == entry, "the ref did not move")
        _ = try world.fetch()
        #expect(try world.differences().isEmpty)
        #expect(try scrub(world, isReport: true).findings.isEmpty)
    }

    @Test func `sends only the lost chunk of a large file`() throws {
        let world = try LocalWorld()
        let content = SeededGenerator.text(seed: 42, count: 8 << 20)
        var random = SeededGenerator(seed: 43)
        let tail = random.bytes(4 << 20)
        try world.write("large", content + tail)
        _ = try world.push()
        try damage(Array(tail.suffix(1000)), world)
        #expect(try scrub(world)["findings"] ?? 0 >= 1)
        var results: [RepairedRef] = []
        let counters = ProgressCounters()
        try Repair.run(
            RepairOptions(directory: world.workspace, workers: 2),
            try world.store.refs(prefix: "", after: "", limit: 9).entries,
            connection: world.store, counters: counters
        ) { results.append($0) }
        #expect(results.map(\.outcome) == [.healed])
        #expect(counters.transferred < 3 << 20, "\(counters.transferred)")
        _ = try world.fetch()
        #expect(try world.differences().isEmpty)
    }
}
