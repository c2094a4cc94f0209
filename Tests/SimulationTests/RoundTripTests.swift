import CASFileSystem
import CASTestSupport
import Glibc
import Testing

/// Random trees through the real client: what comes back is what was there, to the bit.
@Suite struct RoundTripTests {
    /// Where a tree travels through.
    enum Road: String, CaseIterable {
        case store, server
    }

    private static let seeds: [UInt64] = TestForm.isFull ? Array(0..<60) : [1, 2, 3]

    @Test(arguments: Road.allCases, seeds)
    func `random trees come back to the bit, and so do their edits`(
        road: Road, seed: UInt64
    ) async throws {
        try await onThread {
            let world = try ProcessWorld()
            if road == .server { try world.startServer() }
            let store = road == .server ? world.server : world.local
            var tree = RandomTree(seed: seed, entries: 60)
            for round in 0..<3 {
                let comment = "\(road.rawValue), seed \(seed), round \(round)"
                // A new directory of the old name: what remembers the old one must notice.
                try Host.removeTree(world.path("work"))
                try tree.model.write(to: world.path("work"))
                try #require(try TreeModel(reading: world.path("work")) == tree.model, "\(comment)")
                let digest = try world.succeed(
                    ["push", world.path("work"), "--to", "team/tree"] + store)
                let again = try world.succeed(
                    ["push", world.path("work"), "--to", "team/tree"] + store)
                #expect(digest == again, "\(comment)")
                let updated = try world.fetched("team/tree", store, into: "updated")
                TreeModel.expect(updated, tree.model, "\(comment), updated in place")
                let new = try world.fetched(digest, store, into: "new\(round)")
                TreeModel.expect(new, tree.model, "\(comment), fetched anew")
                try world.succeed(["verify", "team/tree", world.path("updated")] + store)
                tree.edit(25)
            }
        }
    }

    /// An update of what differs in nothing but the time of a link.
    @Test func `a link's time alone comes with an update`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            var model = RandomTree(seed: 5, entries: 0).model
            try model.write(to: world.path("work"))
            try world.succeed(["push", world.path("work"), "--to", "p"] + world.local)
            _ = try world.fetched("p", world.local)
            let time = TreeModel.Time(seconds: 1_600_000_000, nanoseconds: 5)
            model.entries[Array("dangling".utf8)]?.modified = time
            try Host.removeTree(world.path("work"))
            try model.write(to: world.path("work"))
            try world.succeed(["push", world.path("work"), "--to", "p"] + world.local)
            let updated = try world.fetched("p", world.local)
            TreeModel.expect(updated, model, "a link's time")
        }
    }

    @Test func `hard links come back as files of equal content, odd bits do not come back`()
        async throws
    {
        try await onThread {
            let world = try ProcessWorld()
            var model = RandomTree(seed: 4, entries: 0).model
            try model.write(to: world.path("work"))
            let first = Array(world.path("work/large").utf8)
            let second = Array(world.path("work/linked").utf8)
            try #require(withPath(first) { a in withPath(second) { link(a, $0) } } == 0)
            try #require(withPath(first) { chmod($0, 0o4755) } == 0)
            try world.succeed(["push", world.path("work"), "--to", "p"] + world.local)
            let fetched = try world.fetched("p", world.local)
            model = try TreeModel(reading: world.path("work"))
            for name in ["large", "linked"] { model.entries[Array(name.utf8)]?.mode = 0o755 }
            TreeModel.expect(fetched, model, "hard links")
        }
    }
}
