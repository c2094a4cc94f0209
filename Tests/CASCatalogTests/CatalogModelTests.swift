import CASCatalog
import CASCore
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

/// Everything that can be asked of a catalog about the few values that the random changes use.
struct CatalogView: Equatable {
    static let numbers = Array(0..<8)
    static let names = ["a:x", "a:y", "a/b:x", "b:x"]

    var values: [String] = []

    init(_ reader: any CatalogReader) throws {
        func add(_ name: String, _ value: some Any) { values.append("\(name): \(value)") }
        let digests = Self.numbers.map(Sample.digest)
        let domain = Domain.standard
        add("setting", try Self.numbers.map { try reader.setting("s\($0)") })
        add("sequence", try reader.lastSequence())
        add("locations", try reader.locations(of: digests, domain: domain))
        let packs = try reader.packs()
        add("packs", packs)
        add("unsealed", try reader.unsealedPacks())
        for pack in packs {
            add("pack", try reader.pack(pack.number) as Any)
            for offset in [UInt64(0), 66, 68] {
                add("digests", try reader.digests(in: pack.number, from: offset).sorted())
            }
        }
        add("lists", try reader.chunkLists(of: digests, domain: domain))
        add("trees", try reader.treeStates(of: digests, domain: domain))
        add("snapshots", try digests.map { try reader.completeSnapshot($0, domain: domain) })
        add("snapshotOf", try digests.map { try reader.snapshotOf(tree: $0, domain: domain) })
        add("holding", try digests.map { try reader.refs(holding: $0, limit: 3, domain: domain) })
        for name in try Self.names.map({ try RefName($0) }) {
            add("ref", try reader.ref(name, domain: domain) as Any)
            for before in [nil, UInt64(5), 12] {
                add("history", try reader.history(name, before: before, limit: 3, domain: domain))
            }
            for prefix in ["", "a", "a/", "c"] {
                add("refs", try reader.refs(prefix: prefix, after: name, limit: 2, domain: domain))
            }
        }
        let identifiers = Self.numbers.map(Sample.identifier)
        add("pushes", try identifiers.map { try reader.push($0, domain: domain) })
        add("tokens", try reader.tokens())
        add("token", try identifiers.map { try reader.token($0) })
        add("leases", try identifiers.map { try reader.lease($0) })
        add("expired", try reader.expiredLeases(at: 50))
        try addKeeping(reader, digests)
        try addImages(reader, digests)
        let counts = try reader.counts(domain: domain)
        add("counts", [counts.refs, counts.snapshots, counts.packs, counts.packBytes])
        add("sums", counts.records.map { "\($0.key) \($0.value)" }.sorted())
    }
}

extension CatalogView {
    /// The same about what is kept and what goes.
    private mutating func addKeeping(_ reader: any CatalogReader, _ digests: [Digest]) throws {
        let domain = Domain.standard
        func text(_ values: some Any) -> String { "\(values)" }
        for after in [nil] + digests.map(Optional.some) {
            values += [
                text(try reader.locations(after: after, limit: 3, domain: domain)),
                text(try reader.treeKeys(after: after, limit: 3, domain: domain)),
                text(try reader.snapshotKeys(after: after, limit: 3, domain: domain)),
                text(try reader.condemned(after: after, limit: 3, domain: domain)),
                text(try reader.touches(after: after, limit: 3, domain: domain)),
                text(try reader.purges(after: after, limit: 3, domain: domain)),
                text(try reader.purging(after: after, limit: 3, domain: domain)),
            ]
        }
        values += [
            text(try reader.generation()), text(try reader.condemned(of: digests, domain: domain)),
            text(try reader.leases()),
            text(try digests.map { try reader.touch(of: $0, domain: domain) }),
            text(try reader.pins(domain: domain)), text(try reader.rules(domain: domain)),
            text(try reader.purged(digests, domain: domain)), text(try reader.hasPurges()),
            text(try reader.doomedPacks()),
            text(try reader.packUsage().filter { $0.value.count > 0 }.sorted { $0.key < $1.key }),
            text(try reader.unmeasuredSnapshots(limit: 3, domain: domain)),
            text(try digests.map { try reader.measure(of: $0, domain: domain) }),
        ]
        var after: HistoryEntry?
        while let page = try? reader.moves(after: after, limit: 2, domain: domain), !page.isEmpty {
            values.append(text(page))
            after = page.last
        }
    }
}

/// One random change, the same for every catalog.
struct CatalogChange {
    var kind: Int
    var first: Int
    var second: Int
    var name: String

    init(_ random: inout SeededGenerator) {
        kind = Int.random(in: 0..<58, using: &random)
        first = Int.random(in: 0..<8, using: &random)
        second = Int.random(in: 0..<8, using: &random)
        name = CatalogView.names[Int.random(in: CatalogView.names.indices, using: &random)]
    }

    /// Makes the change; what it answered, or the code of its error.
    func apply(_ change: any CatalogTransaction) throws -> String {
        do {
            if kind >= 46 { return try applyImages(change) }
            if kind >= 22 { return try applyKeeping(change) }
            return kind < 11 ? try applyContent(change) : try applyNames(change)
        } catch let error as CASError {
            return "\(error.code)"
        }
    }

    private func applyKeeping(_ change: any CatalogTransaction) throws -> String {
        let domain = Domain.standard
        let digests = [Sample.digest(first), Sample.digest(second)]
        switch kind {
        case 22: return "\(try change.nextGeneration())"
        case 23, 24: try change.condemn(digests, generation: UInt64(first + 1), domain: domain)
        case 25: try change.revive(digests, domain: domain)
        case 26: try change.addBarrier(digests[0], domain: domain)
        case 27: return "\(try change.takeBarrier(limit: 2, domain: domain).count)"
        case 28:
            try change.insert(
                touch: Touch(digest: digests[0], byDigest: Int64(first), byName: Int64(second)),
                domain: domain)
        case 29:
            // Which of several go is not said: as many as there may be.
            return "\(try change.removeTouches(before: Int64(first), limit: 8, domain: domain))"
        case 30:
            try change.removeHistory(try RefName(name), upTo: UInt64(second), domain: domain)
        case 31, 32: try change.insert(pin: Sample.pin(first, name: "team"), domain: domain)
        case 44: try change.addArrivals([digests[0]], domain: domain)
        case 45: return "\(try change.takeArrivals(limit: 2, domain: domain).count)"
        case 42: try change.insert(purging: digests, domain: domain)
        case 43: try change.remove(purging: digests, domain: domain)
        case 33: return "\(try change.removePin(name: "team", digest: digests[0], domain: domain))"
        case 34: try change.insert(rule: RetentionRule(pattern: "p\(first)"), domain: domain)
        case 35: return "\(try change.removeRule(pattern: "p\(first)", domain: domain))"
        case 36: try change.insert(purged: digests, reason: "\(second)", domain: domain)
        case 37:
            let old = Sample.location(Int64(second % 4 + 1), UInt64(64 + first))
            let new = Sample.location(Int64(first % 4 + 1), UInt64(900 + first))
            guard try change.pack(new.pack) != nil else { return "" }
            return
                "\(try change.relocate([Relocation(digest: digests[0], old: old, new: new)], domain: domain))"
        case 38: return "\(try change.removeEmptyPack(Int64(first)))"
        case 39: try change.remove(doomed: Sample.identifier(first))
        case 40:
            try change.addEvents(
                pack: Int64(first), bytes: UInt64(second), lastSequence: UInt64(second))
            try change.update(pack: Int64(first), level: second)
        default:
            try change.set(
                measure: first % 3 == 0
                    ? nil : SnapshotMeasure(ranges: UInt64(first), readBytes: 3, restoredBytes: 2),
                of: digests[1], domain: domain)
            try change.limitLeases(to: UInt64(20 + first))
        }
        return ""
    }

    private func applyContent(_ change: any CatalogTransaction) throws -> String {
        let domain = Domain.standard
        let digests = [Sample.digest(first), Sample.digest(second)]
        switch kind {
        case 0:
            let packClass = PackClass.allCases[second % 3]
            return "\(try change.insert(pack: Sample.pack(first, packClass)))"
        case 1:
            try change.update(
                pack: Int64(first), isSealed: second % 2 == 0 ? true : nil,
                committedBytes: UInt64(second))
        case 2: try change.removePack(Int64(first))
        case 3, 4:
            let kinds: [RecordKind] = [.chunk, .directory, .chunkList]
            try change.insert(
                locations: digests.map {
                    (
                        $0,
                        Sample.location(
                            Int64(second % 4 + 1), UInt64(64 + first), kind: kinds[second % 3],
                            stored: UInt32(first))
                    )
                }, domain: domain)
        case 5: try change.remove(locations: digests, domain: domain)
        case 6: try change.insert(chunkLists: [(digests[0], Sample.list(second))], domain: domain)
        case 7: try change.remove(chunkLists: digests, domain: domain)
        case 8:
            try change.insert(
                treeStates: [
                    (digests[0], Sample.state(second)), (digests[1], Sample.state(first)),
                ],
                domain: domain)
        case 9: try change.remove(treeStates: [digests[0]], domain: domain)
        default:
            try change.insert(
                completeSnapshots: [
                    CompleteSnapshot(snapshot: digests[0], tree: digests[1], attributes: nil)
                ], domain: domain)
        }
        return "done"
    }

    private func applyNames(_ change: any CatalogTransaction) throws -> String {
        let domain = Domain.standard
        let identifier = Sample.identifier(first)
        switch kind {
        case 11: try change.remove(completeSnapshots: [Sample.digest(first)], domain: domain)
        case 12: if first == second { try change.forgetCompleteness(domain: domain) }
        case 13, 14:
            let sequence = kind == 13 ? try change.nextSequence() : UInt64(first + second)
            try change.move(
                try Sample.move(name, sequence, to: first),
                try Sample.entry(name, sequence, target: first, tree: second), domain: domain)
        case 15:
            let sequence = try change.nextSequence()
            try change.move(try Sample.move(name, sequence, to: nil), nil, domain: domain)
        case 16: try change.insert(push: identifier, Sample.response(second), domain: domain)
        case 17: try change.insert(token: try Sample.token(first, name: name))
        case 18: return "\(try change.revoke(token: identifier, at: Sample.time))"
        case 19: try change.insert(lease: Sample.lease(first, expires: UInt64(second * 10)))
        case 20: return "\(try change.renew(lease: identifier, until: UInt64(second * 10)))"
        default:
            try change.remove(lease: identifier)
            try change.set(setting: "s\(first)", [UInt8](repeating: 1, count: second))
            try change.raiseSequence(to: UInt64(second))
        }
        return "done"
    }
}

/// Any sequence of changes leaves both catalogs in the same state.
@Suite struct CatalogModelTests {
    @Test(arguments: Array(UInt64(1)...(TestForm.isFull ? 60 : 5)))
    func `SQL and memory agree after every transaction`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let fixtures = [try CatalogFixture(.sqlite), try CatalogFixture(.memory)]
        for round in 0..<60 {
            let changes = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                CatalogChange(&random)
            }
            let isRolledBack = Int.random(in: 0..<5, using: &random) == 0
            let isEmptied = Int.random(in: 0..<40, using: &random) == 0
            var answers: [[String]] = []
            for fixture in fixtures {
                var given: [String] = []
                do {
                    try fixture.catalog.write { change in
                        if isEmptied { try change.removeEverything() }
                        for item in changes { given.append(try item.apply(change)) }
                        given += try CatalogView(change).values
                        if isRolledBack { throw CASError(.aborted, "on purpose") }
                    }
                } catch let error as CASError where error.code == .aborted {
                    given.append("rolled back")
                }
                answers.append(given + (try fixture.catalog.read { try CatalogView($0).values }))
            }
            for (sql, memory) in zip(answers[0], answers[1]) where sql != memory {
                Issue.record("seed \(seed), round \(round): SQL \(sql), memory \(memory)")
            }
            try #require(answers[0] == answers[1], "seed \(seed), round \(round)")
            if round % 20 == 19 { try fixtures[0].reopen() }
        }
    }
}
