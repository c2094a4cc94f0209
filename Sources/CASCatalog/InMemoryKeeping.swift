import CASCore
import CASPack
import CASWire

extension InMemoryTransaction: KeepingTransaction {
    func generation() -> UInt64 { state.generation }

    private func scan(_ keys: some Sequence<Digest>, _ after: Digest?, _ limit: Int) -> [Digest] {
        let rest = keys.filter { key in after.map { $0 < key } ?? true }
        return Array(rest.sorted().prefix(limit))
    }

    func locations(
        after: Digest?, limit: Int, domain: Domain
    ) throws -> [(digest: Digest, location: BlobLocation)] {
        try domain.requireStandard()
        return scan(state.locations.keys, after, limit).compactMap { digest in
            state.locations[digest].map { (digest, $0) }
        }
    }

    func treeKeys(after: Digest?, limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        return scan(state.forgottenTrees.union(state.treeStates.keys), after, limit)
    }

    func snapshotKeys(after: Digest?, limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        return scan(
            state.forgottenSnapshots.union(state.snapshots.map(\.snapshot)), after, limit)
    }

    func condemned(of digests: [Digest], domain: Domain) throws -> [UInt64?] {
        try domain.requireStandard()
        return digests.map { state.condemned[$0] }
    }

    func condemned(
        after: Digest?, limit: Int, domain: Domain
    ) throws -> [(digest: Digest, generation: UInt64)] {
        try domain.requireStandard()
        return scan(state.condemned.keys, after, limit).compactMap { digest in
            state.condemned[digest].map { (digest, $0) }
        }
    }

    func blobs(ofChunk digest: Digest, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        return state.chunkLists.filter { $0.value.chunks.contains(digest) }.map(\.key).sorted()
    }

    func leases() -> [Lease] {
        state.leases.values.sorted {
            ($0.identifier.high, $0.identifier.low) < ($1.identifier.high, $1.identifier.low)
        }
    }

    func touch(of digest: Digest, domain: Domain) throws -> Touch? {
        try domain.requireStandard()
        return state.touches[digest]
    }

    func touches(after: Digest?, limit: Int, domain: Domain) throws -> [Touch] {
        try domain.requireStandard()
        return scan(state.touches.keys, after, limit).compactMap { state.touches[$0] }
    }

    func moves(after: HistoryEntry?, limit: Int, domain: Domain) -> [HistoryEntry] {
        let all = state.histories.filter { $0.key.domain == domain }.sorted { $0.key < $1.key }
            .flatMap(\.value)
        let rest = all.filter { entry in
            after.map { ($0.name, $0.sequence) < (entry.name, entry.sequence) } ?? true
        }
        return Array(rest.prefix(limit))
    }

    func pins(domain: Domain) -> [PinRecord] {
        state.pins.filter { $0.key.domain == domain }.map(\.value)
            .sorted { ($0.name, $0.digest) < ($1.name, $1.digest) }
    }

    func rules(domain: Domain) -> [RetentionRule] {
        state.rules.filter { $0.key.domain == domain }.map(\.value)
            .sorted { $0.pattern < $1.pattern }
    }

    func purged(_ digests: [Digest], domain: Domain) throws -> [String?] {
        try domain.requireStandard()
        return digests.map { state.purges[$0] }
    }

    func hasPurges() -> Bool { !state.purges.isEmpty }

    func purges(
        after: Digest?, limit: Int, domain: Domain
    ) throws -> [(digest: Digest, reason: String)] {
        try domain.requireStandard()
        return scan(state.purges.keys, after, limit).compactMap { digest in
            state.purges[digest].map { (digest, $0) }
        }
    }

    func purging(after: Digest?, limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        return scan(state.purging, after, limit)
    }

    func doomedPacks() -> [DoomedPack] {
        state.doomed.map { DoomedPack(identifier: $0.key, isStored: $0.value) }
            .sorted { $0.identifier < $1.identifier }
    }

    func packUsage() -> [Int64: CatalogCounts.Records] {
        var sums: [Int64: CatalogCounts.Records] = [:]
        for location in state.locations.values {
            sums[location.pack, default: .init()].add(location)
        }
        return sums
    }

    func unmeasuredSnapshots(limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        return Array(
            state.snapshots.reversed().map(\.snapshot).filter { state.measures[$0] == nil }
                .prefix(limit))
    }

    func measure(of snapshot: Digest, domain: Domain) throws -> SnapshotMeasure? {
        try domain.requireStandard()
        return state.measures[snapshot]
    }

    // MARK: - Changes

    func nextGeneration() -> UInt64 {
        state.generation += 1
        return state.generation
    }

    func condemn(_ digests: [Digest], generation: UInt64, domain: Domain) throws {
        try domain.requireStandard()
        for digest in digests { state.condemned[digest] = generation }
    }

    func revive(_ digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        guard !state.neglects.contains(.revival) else { return }
        for digest in digests { state.condemned[digest] = nil }
    }

    func addBarrier(_ snapshot: Digest, domain: Domain) throws {
        try domain.requireStandard()
        guard !state.neglects.contains(.barrier) else { return }
        state.barrier.insert(snapshot)
    }

    func takeBarrier(limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        let taken = Array(state.barrier.sorted().prefix(limit))
        state.barrier.subtract(taken)
        return taken
    }

    func addArrivals(_ digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        guard !state.neglects.contains(.barrier) else { return }
        state.arrivals.formUnion(digests)
    }

    func takeArrivals(limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        let taken = Array(state.arrivals.sorted().prefix(limit))
        state.arrivals.subtract(taken)
        return taken
    }

    func insert(touch: Touch, domain: Domain) throws {
        try domain.requireStandard()
        var known = state.touches[touch.digest] ?? touch
        known.byDigest = max(known.byDigest, touch.byDigest)
        known.byName = max(known.byName, touch.byName)
        state.touches[touch.digest] = known
    }

    func removeTouches(before seconds: Int64, limit: Int, domain: Domain) throws -> Int {
        try domain.requireStandard()
        let old = state.touches.values.filter { $0.byDigest < seconds && $0.byName < seconds }
        let gone = old.map(\.digest).sorted().prefix(limit)
        for digest in gone { state.touches[digest] = nil }
        return gone.count
    }

    func removeHistory(_ name: RefName, upTo sequence: UInt64, domain: Domain) {
        let key = InMemoryState.RefKey(domain: domain, name: name)
        let moves = state.histories[key] ?? []
        for case .some(let push) in moves.filter({ $0.sequence <= sequence }).map(\.pushID) {
            state.pushes[InMemoryState.PushKey(domain: domain, identifier: push)] = nil
        }
        let rest = moves.filter { $0.sequence > sequence }
        state.histories[key] = rest.isEmpty ? nil : rest
    }

    func insert(pin: PinRecord, domain: Domain) {
        state.pins[.init(domain: domain, name: pin.name, digest: pin.digest)] = pin
    }

    func removePin(name: String, digest: Digest, domain: Domain) -> Bool {
        state.pins.removeValue(forKey: .init(domain: domain, name: name, digest: digest)) != nil
    }

    func insert(rule: RetentionRule, domain: Domain) {
        state.rules[.init(domain: domain, pattern: rule.pattern)] = rule
    }

    func removeRule(pattern: String, domain: Domain) -> Bool {
        state.rules.removeValue(forKey: .init(domain: domain, pattern: pattern)) != nil
    }

    func insert(purged digests: [Digest], reason: String, domain: Domain) throws {
        try domain.requireStandard()
        for digest in digests where state.purges[digest] == nil { state.purges[digest] = reason }
    }

    func insert(purging digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        state.purging.formUnion(digests)
    }

    func remove(purging digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        state.purging.subtract(digests)
    }

    func relocate(_ items: [Relocation], domain: Domain) throws -> Int {
        try domain.requireStandard()
        var moved = 0
        for item in items {
            guard let present = state.locations[item.digest], present.pack == item.old.pack,
                present.offset == item.old.offset
            else { continue }
            state.locations[item.digest] = item.new
            moved += 1
        }
        return moved
    }

    func removeEmptyPack(_ number: Int64) -> Bool {
        guard let entry = state.packs[number],
            !state.locations.values.contains(where: { $0.pack == number })
        else { return false }
        state.doomed[entry.identifier] = entry.isStored
        state.packs[number] = nil
        return true
    }

    func remove(doomed identifier: Identifier) { state.doomed[identifier] = nil }

    func addEvents(pack number: Int64, bytes: UInt64, lastSequence: UInt64) throws {
        guard var entry = state.packs[number] else { throw CatalogFailure.unknownPack(number) }
        entry.eventBytes += bytes
        entry.lastEvent = max(entry.lastEvent, lastSequence)
        state.packs[number] = entry
    }

    func update(pack number: Int64, level: Int) throws {
        guard state.packs[number] != nil else { throw CatalogFailure.unknownPack(number) }
        state.packs[number]?.level = level
    }

    func set(measure: SnapshotMeasure?, of snapshot: Digest, domain: Domain) throws {
        try domain.requireStandard()
        guard state.snapshots.contains(where: { $0.snapshot == snapshot }) else { return }
        state.measures[snapshot] = measure
    }

    func limitLeases(to monotonicNanoseconds: UInt64) {
        state.leases = state.leases.mapValues { lease in
            var lease = lease
            lease.expires = min(lease.expires, monotonicNanoseconds)
            return lease
        }
    }
}
