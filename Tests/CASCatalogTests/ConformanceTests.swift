import CASCatalog
import CASCore
import CASPack
import CASTree
import Testing

/// What every catalog has to do: settings, packs, locations, composition and completeness.
@Suite struct ConformanceTests {
    @Test(arguments: CatalogKind.allCases)
    func `a new catalog knows nothing`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.read { (reader) throws in
            #expect(try reader.setting("incarnation") == nil)
            #expect(try reader.lastSequence() == 0)
            #expect(try reader.location(of: Sample.digest(1), domain: .standard) == nil)
            #expect(try reader.packs().isEmpty)
            #expect(try reader.tokens().isEmpty)
            #expect(try reader.expiredLeases(at: .max).isEmpty)
            #expect(try reader.counts(domain: .standard) == CatalogCounts())
            #expect(
                try reader.refs(prefix: "", after: nil, limit: 10, domain: .standard).isEmpty)
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `settings and sequences last`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        let first = try fixture.catalog.write { change in
            try change.set(setting: "a", [1, 2])
            try change.set(setting: "b", [])
            try change.set(setting: "a", [3])
            #expect(try change.setting("a") == [3], "a transaction sees its own changes")
            return [try change.nextSequence(), try change.nextSequence()]
        }
        #expect(first == [1, 2])
        try fixture.reopen()
        try fixture.catalog.write { change in
            #expect(try change.setting("a") == [3])
            #expect(try change.setting("b") == [])
            #expect(try change.setting("c") == nil)
            #expect(try change.lastSequence() == 2)
            try change.raiseSequence(to: 10)
            try change.raiseSequence(to: 4)
            #expect(try change.nextSequence() == 11)
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `nothing of a transaction that throws has happened`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { try $0.set(setting: "a", [1]) }
        let error = #expect(throws: CASError.self) {
            try fixture.catalog.write { change in
                try change.set(setting: "a", [2])
                let pack = try change.insert(pack: Sample.pack(1))
                try change.insert(
                    locations: [(Sample.digest(1), Sample.location(pack, 64))], domain: .standard)
                _ = try change.nextSequence()
                try change.move(
                    try Sample.move("a:b", 5, to: 1),
                    try Sample.entry("a:b", 5, target: 1, tree: 2), domain: .standard)
                try change.insert(token: try Sample.token(1))
                throw CASError(.aborted, "on purpose")
            }
        }
        #expect(error?.code == .aborted)
        for _ in 0..<2 {
            try fixture.catalog.read { (reader) throws in
                #expect(try reader.setting("a") == [1])
                #expect(try reader.lastSequence() == 0)
                #expect(try reader.packs().isEmpty)
                #expect(try reader.tokens().isEmpty)
                #expect(try reader.location(of: Sample.digest(1), domain: .standard) == nil)
                #expect(try reader.ref(try RefName("a:b"), domain: .standard) == nil)
            }
            try fixture.reopen()
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `a read sees one state, whatever is written meanwhile`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        let catalog = fixture.catalog
        try catalog.write { try $0.set(setting: "a", [1]) }
        try catalog.read { reader in
            #expect(try reader.setting("a") == [1])
            try catalog.write { try $0.set(setting: "a", [2]) }
            #expect(try reader.setting("a") == [1])
        }
        #expect(try catalog.read { try $0.setting("a") } == [2])
    }

    @Test(arguments: CatalogKind.allCases)
    func `a closed catalog says so`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.close()
        try fixture.catalog.close()
        let read = #expect(throws: CASError.self) {
            try fixture.catalog.read { try $0.lastSequence() }
        }
        let write = #expect(throws: CASError.self) {
            try fixture.catalog.write { try $0.nextSequence() }
        }
        #expect(read?.code == .failedPrecondition && write?.code == .failedPrecondition)
    }

    @Test(arguments: CatalogKind.allCases)
    func `packs have numbers that are never used again`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { change in
            let first = try change.insert(pack: Sample.pack(1))
            let second = try change.insert(pack: Sample.pack(2, .metadata))
            #expect(first < second)
            let error = #expect(throws: CASError.self) {
                _ = try change.insert(pack: Sample.pack(1))
            }
            #expect(error?.code == .alreadyExists)
            try change.update(pack: first, isSealed: nil, committedBytes: 100)
            try change.update(pack: second, isSealed: true, committedBytes: nil)
            #expect(throws: CASError.self) {
                try change.update(pack: 99, isSealed: true, committedBytes: nil)
            }
            var expected = Sample.pack(1, committed: 100)
            expected.number = first
            #expect(try change.pack(first) == expected)
            #expect(try change.pack(second)?.isSealed == true)
            #expect(try change.pack(second)?.committedBytes == 64)
            #expect(try change.pack(second)?.isStored == false)
            try change.markStored(pack: second)
            #expect(try change.pack(second)?.isStored == true)
            #expect(try change.pack(first)?.isStored == false)
            #expect(try change.packs().map(\.number) == [first, second])
            try change.removePack(second)
            #expect(try change.pack(second) == nil)
            #expect(try change.insert(pack: Sample.pack(3)) > second)
        }
        try fixture.reopen()
        #expect(try fixture.catalog.read { try $0.packs().count } == 2)
    }

    @Test(arguments: CatalogKind.allCases)
    func `the first location of a digest stays until it is removed`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { change in
            let one = try change.insert(pack: Sample.pack(1))
            let two = try change.insert(pack: Sample.pack(2))
            let first = Sample.location(one, 64)
            let second = Sample.location(two, 64, stored: 11, raw: 11, codec: .raw)
            let digests = (0..<5).map(Sample.digest)
            try change.insert(
                locations: [(digests[3], first), (digests[0], first), (digests[0], second)],
                domain: .standard)
            try change.insert(locations: [(digests[3], second)], domain: .standard)
            try change.insert(locations: [], domain: .standard)
            try change.insert(
                locations: [(digests[1], Sample.location(one, 500))], domain: .standard)
            #expect(
                try change.locations(
                    of: [digests[4], digests[3], digests[0], digests[3]],
                    domain: .standard) == [nil, first, first, first])
            #expect(
                Set(try change.digests(in: one, from: 64)) == Set([0, 1, 3].map { digests[$0] }))
            #expect(try change.digests(in: one, from: 65) == [digests[1]])
            #expect(try change.digests(in: two, from: 0).isEmpty)
            try change.remove(locations: [digests[0], digests[4]], domain: .standard)
            #expect(try change.location(of: digests[0], domain: .standard) == nil)
            try change.insert(locations: [(digests[0], second)], domain: .standard)
            #expect(try change.location(of: digests[0], domain: .standard) == second)
            try change.removePack(one)
            #expect(
                try change.locations(of: digests, domain: .standard)
                    == [second, nil, nil, nil, nil])
            #expect(throws: CASError.self, "a location in no pack") {
                try change.insert(
                    locations: [(digests[2], Sample.location(one, 64))], domain: .standard)
            }
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `counts follow every change`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { change in
            let small = try change.insert(pack: Sample.pack(1, .small, committed: 100))
            let other = try change.insert(pack: Sample.pack(2, .metadata, committed: 50))
            try change.insert(
                locations: [
                    (Sample.digest(1), Sample.location(small, 64)),
                    (Sample.digest(2), Sample.location(small, 90, stored: 1, raw: 2)),
                    (Sample.digest(3), Sample.location(other, 64, kind: .chunkList)),
                    (Sample.digest(1), Sample.location(other, 70)),
                ], domain: .standard)
            let counts = try change.counts(domain: .standard)
            #expect(counts.packs == 2 && counts.packBytes == 150)
            #expect(counts.sum(of: .chunk).count == 2 && counts.sum(of: .chunk).storedBytes == 11)
            #expect(counts.total.rawBytes == 42 && counts.blobs == 3)
            #expect(counts.records.count == 2)
            try change.remove(locations: [Sample.digest(3)], domain: .standard)
            #expect(try change.counts(domain: .standard).records.count == 1, "no empty sums")
            try change.removePack(small)
            #expect(try change.counts(domain: .standard).total == CatalogCounts.Records())
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `chunk lists come back whole`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { change in
            try change.insert(
                chunkLists: [
                    (Sample.digest(1), Sample.list(1)), (Sample.digest(2), Sample.list(2)),
                ],
                domain: .standard)
            try change.insert(
                chunkLists: [(Sample.digest(1), Sample.list(9))], domain: .standard)
        }
        try fixture.reopen()
        try fixture.catalog.write { change in
            #expect(
                try change.chunkLists(
                    of: [Sample.digest(2), Sample.digest(3), Sample.digest(1)], domain: .standard)
                    == [Sample.list(2), nil, Sample.list(1)])
            try change.remove(chunkLists: [Sample.digest(1)], domain: .standard)
            #expect(try change.chunkList(of: Sample.digest(1), domain: .standard) == nil)
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `completeness is told, taken back and forgotten`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        let snapshots = [(1, 10), (2, 10), (3, 11)].map {
            CompleteSnapshot(
                snapshot: Sample.digest($0.0), tree: Sample.digest($0.1),
                attributes: $0.0 == 3 ? nil : Sample.digest(20))
        }
        try fixture.catalog.write { change in
            try change.insert(
                treeStates: [
                    (Sample.digest(11), Sample.state(11)), (Sample.digest(10), Sample.state(10)),
                ],
                domain: .standard)
            try change.insert(treeStates: [(Sample.digest(10), Sample.state(3))], domain: .standard)
            try change.insert(completeSnapshots: snapshots, domain: .standard)
            try change.insert(completeSnapshots: [snapshots[0]], domain: .standard)
        }
        try fixture.reopen()
        try fixture.catalog.write { change in
            #expect(
                try change.treeStates(
                    of: [Sample.digest(10), Sample.digest(12), Sample.digest(11)], domain: .standard
                )
                    == [Sample.state(10), nil, Sample.state(11)], "the first state stays")
            #expect(try change.completeSnapshot(Sample.digest(1), domain: .standard))
            #expect(try !change.completeSnapshot(Sample.digest(10), domain: .standard))
            let tree = Sample.digest(10)
            #expect(
                try change.snapshotOf(tree: tree, domain: .standard) == Sample.digest(2),
                "the one recorded last; recording the first one again changes nothing")
            try change.remove(completeSnapshots: [Sample.digest(2)], domain: .standard)
            #expect(try change.snapshotOf(tree: tree, domain: .standard) == Sample.digest(1))
            #expect(try change.counts(domain: .standard).snapshots == 2)
            try change.remove(treeStates: [tree, Sample.digest(99)], domain: .standard)
            #expect(try change.treeState(of: tree, domain: .standard) == nil)
            try change.forgetCompleteness(domain: .standard)
            #expect(try change.treeState(of: Sample.digest(11), domain: .standard) == nil)
            #expect(try !change.completeSnapshot(Sample.digest(3), domain: .standard))
            #expect(try change.snapshotOf(tree: Sample.digest(11), domain: .standard) == nil)
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `another domain is refused where the index does not keep them apart`(
        kind: CatalogKind
    ) throws {
        let fixture = try CatalogFixture(kind)
        let foreign = Domain(rawValue: Domain.standard.rawValue + 1)
        try fixture.catalog.write { change in
            let attempts: [() throws -> Void] = [
                { _ = try change.locations(of: [], domain: foreign) },
                { _ = try change.chunkLists(of: [], domain: foreign) },
                { _ = try change.treeStates(of: [], domain: foreign) },
                { _ = try change.completeSnapshot(.zero, domain: foreign) },
                { _ = try change.snapshotOf(tree: .zero, domain: foreign) },
                { try change.insert(locations: [], domain: foreign) },
                { try change.remove(locations: [], domain: foreign) },
                { try change.insert(chunkLists: [], domain: foreign) },
                { try change.remove(chunkLists: [], domain: foreign) },
                { try change.insert(treeStates: [], domain: foreign) },
                { try change.remove(treeStates: [], domain: foreign) },
                { try change.insert(completeSnapshots: [], domain: foreign) },
                { try change.remove(completeSnapshots: [], domain: foreign) },
                { try change.forgetCompleteness(domain: foreign) },
            ]
            for (index, attempt) in attempts.enumerated() {
                let error = #expect(throws: CASError.self, "\(index)") { try attempt() }
                #expect(error?.code == .unimplemented, "\(index)")
            }
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `a rebuild begins with nothing`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { try CatalogSample.fill($0) }
        try fixture.catalog.write { change in
            try change.removeEverything()
            #expect(try change.setting("incarnation") == nil)
            #expect(try change.lastSequence() == 0)
            #expect(try change.packs().isEmpty)
            #expect(try change.tokens().isEmpty)
            #expect(try change.counts(domain: .standard) == CatalogCounts())
            #expect(try change.expiredLeases(at: .max).isEmpty)
            #expect(try change.insert(pack: Sample.pack(1)) == 1)
        }
    }
}
