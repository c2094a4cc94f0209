import CASClient
import CASCore
import CASTestSupport
import CASWire
import Testing

/// Pushes to names that have a quota.
@Suite struct QuotaTests {
    private func world(quota: UInt64) throws -> LocalWorld {
        let world = try LocalWorld()
        var rule = RetentionRule(pattern: "team/**")
        rule.quota = quota
        _ = try world.store.set(rule: rule)
        return world
    }

    private func push(_ world: LocalWorld, to name: String) throws -> PushSummary {
        let ref = try RefName(name)
        return try world.push { $0.ref = ref }
    }

    @Test func `nothing is sent of a push that is too large, however many files it has`() throws {
        let world = try world(quota: 5 << 20)
        // More than the scan hands on before somebody takes them, and more than one upload has.
        for index in 0..<3_000 {
            try world.write(
                "d\(index % 7)/file-\(index)",
                SeededGenerator.text(seed: UInt64(index), count: 4096))
        }
        let store = DecoratedStore(world.store)
        let error = #expect(throws: CASError.self) { try world.push(to: store) }
        #expect(error?.code == .resourceExhausted)
        let words = "is 5.0 MiB: its refs use 0 B, and this push has 11 MiB more"
        #expect(error?.message == "the quota of 'team/**' " + words)
        #expect(store.uploadCount == 0)
        #expect(try world.store.ref(world.ref) == nil)
    }

    @Test func `an edit of what fills the quota is taken`() throws {
        let world = try world(quota: 1 << 20)
        let text = SeededGenerator.text(seed: 1, count: 1 << 20)
        try world.write("file", text)
        #expect(try world.push().response?.outcome == .done)
        try world.write("file", text.reversed())
        #expect(try world.push().response?.outcome == .done)
        #expect(try push(world, to: "team/copy").response?.outcome == .done)
        try world.write("more", "x")
        let error = #expect(throws: CASError.self) { try world.push() }
        #expect(error?.code == .resourceExhausted)
        #expect(try push(world, to: "elsewhere").response?.outcome == .done)
    }

    @Test func `a dry run asks for no room`() throws {
        let world = try world(quota: 10)
        try world.write("file", SeededGenerator.text(seed: 1, count: 1 << 16))
        let summary = try world.push { $0.isDryRun = true }
        #expect(summary.newBytes == 1 << 16)
    }
}
