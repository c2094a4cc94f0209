import CASCore
import CASPack
import CASWire

/// One view of an in-memory catalog, and what a transaction makes of it.
final class InMemoryTransaction: CatalogReader {
    /// The view; the catalog takes it over at the commit.
    var state: InMemoryState

    init(_ state: InMemoryState) {
        self.state = state
    }

    func setting(_ name: String) -> [UInt8]? { state.settings[name] }
    func lastSequence() -> UInt64 { state.sequence }

    func locations(of digests: [Digest], domain: Domain) throws -> [BlobLocation?] {
        try domain.requireStandard()
        return digests.map { state.locations[$0] }
    }

    func digests(in pack: Int64, from offset: UInt64) -> [Digest] {
        state.locations.filter { $0.value.pack == pack && $0.value.offset >= offset }.map(\.key)
    }

    func records(in pack: Int64) -> UInt64 {
        UInt64(state.locations.values.count { $0.pack == pack })
    }

    func chunkLists(of digests: [Digest], domain: Domain) throws -> [ChunkList?] {
        try domain.requireStandard()
        return digests.map { state.chunkLists[$0] }
    }

    func treeStates(of digests: [Digest], domain: Domain) throws -> [TreeState?] {
        try domain.requireStandard()
        return digests.map { state.treeStates[$0] }
    }

    func completeSnapshot(_ snapshot: Digest, domain: Domain) throws -> Bool {
        try domain.requireStandard()
        return state.snapshots.contains { $0.snapshot == snapshot }
    }

    func snapshotOf(tree: Digest, domain: Domain) throws -> Digest? {
        try domain.requireStandard()
        return state.snapshots.last { $0.tree == tree }?.snapshot
    }

    func packs() -> [PackEntry] { state.packs.values.sorted { $0.number < $1.number } }
    func unsealedPacks() -> [PackEntry] { packs().filter { !$0.isSealed } }
    func pack(_ number: Int64) -> PackEntry? { state.packs[number] }

    func ref(_ name: RefName, domain: Domain) -> RefEntry? {
        state.refs[InMemoryState.RefKey(domain: domain, name: name)]
    }

    func refs(
        prefix: String, after: RefName?, limit: Int, domain: Domain
    ) -> [RefEntry] {
        let found = sortedRefs(domain) { entry in
            entry.name.name.hasPrefix(prefix) && (after.map { $0 < entry.name } ?? true)
        }
        return Array(found.prefix(limit))
    }

    func refs(holding digest: Digest, limit: Int, domain: Domain) -> [RefEntry] {
        let found = sortedRefs(domain) { $0.target.digest == digest || $0.tree == digest }
        return Array(found.prefix(limit))
    }

    func refs(named name: String, holding digest: Digest, limit: Int, domain: Domain) -> [RefEntry]
    {
        let found = sortedRefs(domain) {
            $0.name.name == name && ($0.target.digest == digest || $0.tree == digest)
        }
        return Array(found.prefix(limit))
    }

    private func sortedRefs(_ domain: Domain, _ isWanted: (RefEntry) -> Bool) -> [RefEntry] {
        state.refs.filter { $0.key.domain == domain && isWanted($0.value) }.map(\.value)
            .sorted { $0.name < $1.name }
    }

    func history(
        _ name: RefName, before: UInt64?, limit: Int, domain: Domain
    ) -> [HistoryEntry] {
        let moves = state.histories[InMemoryState.RefKey(domain: domain, name: name)] ?? []
        return Array(moves.reversed().filter { $0.sequence < before ?? UInt64.max }.prefix(limit))
    }

    func push(_ identifier: Identifier, domain: Domain) -> PushResponse? {
        state.pushes[InMemoryState.PushKey(domain: domain, identifier: identifier)]
    }

    func tokens() -> [TokenRecord] {
        state.tokens.values.sorted { $0.id.bytes.lexicographicallyPrecedes($1.id.bytes) }
    }

    func token(_ identifier: Identifier) -> TokenRecord? { state.tokens[identifier] }
    func lease(_ identifier: Identifier) -> Lease? { state.leases[identifier] }

    func expiredLeases(at monotonicNanoseconds: UInt64) -> [Lease] {
        state.leases.values.filter { $0.expires <= monotonicNanoseconds }
            .sorted {
                ($0.expires, $0.identifier.high, $0.identifier.low)
                    < ($1.expires, $1.identifier.high, $1.identifier.low)
            }
    }

    func counts(domain: Domain) -> CatalogCounts {
        var counts = CatalogCounts()
        counts.refs = UInt64(state.refs.keys.count { $0.domain == domain })
        counts.snapshots = UInt64(state.snapshots.count)
        counts.packs = UInt64(state.packs.count)
        counts.packBytes = state.packs.values.reduce(0) { $0 + $1.committedBytes }
        for location in state.locations.values {
            guard let packClass = state.packs[location.pack]?.packClass else { continue }
            counts.records[.init(kind: location.kind, packClass: packClass), default: .init()]
                .add(location)
        }
        return counts
    }
}

// MARK: - Changes

extension InMemoryTransaction: CatalogTransaction {
    func set(setting name: String, _ value: [UInt8]) { state.settings[name] = value }

    func nextSequence() -> UInt64 {
        state.sequence += 1
        return state.sequence
    }

    func raiseSequence(to sequence: UInt64) { state.sequence = max(state.sequence, sequence) }

    func insert(pack entry: PackEntry) throws -> Int64 {
        guard !state.packs.values.contains(where: { $0.identifier == entry.identifier }) else {
            throw CatalogFailure.duplicatePack(entry.identifier)
        }
        let number = state.nextPack
        state.nextPack += 1
        state.packs[number] = entry
        state.packs[number]?.number = number
        return number
    }

    func update(pack number: Int64, isSealed: Bool?, committedBytes: UInt64?) throws {
        guard var entry = state.packs[number] else { throw CatalogFailure.unknownPack(number) }
        entry.isSealed = isSealed ?? entry.isSealed
        entry.committedBytes = committedBytes ?? entry.committedBytes
        state.packs[number] = entry
    }

    func markStored(pack number: Int64) throws {
        guard state.packs[number] != nil else { throw CatalogFailure.unknownPack(number) }
        state.packs[number]?.isStored = true
    }

    func removePack(_ number: Int64) {
        state.packs[number] = nil
        state.locations = state.locations.filter { $0.value.pack != number }
    }

    func insert(locations: [(Digest, BlobLocation)], domain: Domain) throws {
        try domain.requireStandard()
        for (_, location) in locations where state.packs[location.pack] == nil {
            throw CatalogFailure.unknownPack(location.pack)
        }
        for (digest, location) in locations where state.locations[digest] == nil {
            state.locations[digest] = location
        }
    }

    func remove(locations digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        for digest in digests { state.locations[digest] = nil }
    }

    func insert(chunkLists: [(Digest, ChunkList)], domain: Domain) throws {
        try domain.requireStandard()
        for (digest, list) in chunkLists where state.chunkLists[digest] == nil {
            state.chunkLists[digest] = list
        }
    }

    func remove(chunkLists digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        for digest in digests { state.chunkLists[digest] = nil }
    }

    func insert(treeStates: [(Digest, TreeState)], domain: Domain) throws {
        try domain.requireStandard()
        for (digest, tree) in treeStates where state.treeStates[digest] == nil {
            state.forgottenTrees.remove(digest)
            state.treeStates[digest] = tree
        }
    }

    func insert(completeSnapshots: [CompleteSnapshot], domain: Domain) throws {
        try domain.requireStandard()
        for new in completeSnapshots
        where !state.snapshots.contains(where: { $0.snapshot == new.snapshot }) {
            state.forgottenSnapshots.remove(new.snapshot)
            state.snapshots.append(new)
        }
    }

    func remove(treeStates digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        guard !state.neglects.contains(.completeness) else { return }
        for digest in digests {
            state.treeStates[digest] = nil
            state.forgottenTrees.remove(digest)
        }
    }

    func remove(completeSnapshots digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        guard !state.neglects.contains(.completeness) else { return }
        let gone = Set(digests)
        for digest in digests { state.measures[digest] = nil }
        state.forgottenSnapshots.subtract(gone)
        state.snapshots.removeAll { gone.contains($0.snapshot) }
    }

    func forgetCompleteness(domain: Domain) throws {
        try domain.requireStandard()
        guard !state.neglects.contains(.completeness) else { return }
        state.forgottenTrees.formUnion(state.treeStates.keys)
        state.forgottenSnapshots.formUnion(state.snapshots.map(\.snapshot))
        state.treeStates = [:]
        state.snapshots = []
        state.measures = [:]
    }

    func move(_ move: HistoryEntry, _ entry: RefEntry?, domain: Domain) {
        let key = InMemoryState.RefKey(domain: domain, name: move.name)
        // A rebuild may bring the same move twice, and moves out of order.
        var moves = state.histories[key] ?? []
        moves.removeAll { $0.sequence == move.sequence }
        let position = moves.firstIndex { $0.sequence > move.sequence } ?? moves.endIndex
        moves.insert(move, at: position)
        state.histories[key] = moves
        state.refs[key] = entry
        raiseSequence(to: move.sequence)
    }

    func update(ref entry: RefEntry, domain: Domain) {
        let key = InMemoryState.RefKey(domain: domain, name: entry.name)
        if state.refs[key] != nil { state.refs[key] = entry }
    }

    func insert(push identifier: Identifier, _ response: PushResponse, domain: Domain) {
        let key = InMemoryState.PushKey(domain: domain, identifier: identifier)
        if state.pushes[key] == nil { state.pushes[key] = response }
    }

    func insert(token: TokenRecord) { state.tokens[token.id] = token }

    func revoke(token identifier: Identifier, at time: Timestamp) -> Bool {
        guard var token = state.tokens[identifier] else { return false }
        token.revoked = token.revoked ?? time
        state.tokens[identifier] = token
        return true
    }

    func insert(lease: Lease) { state.leases[lease.identifier] = lease }

    func renew(lease identifier: Identifier, until monotonicNanoseconds: UInt64) -> Bool {
        guard state.leases[identifier] != nil else { return false }
        state.leases[identifier]?.expires = monotonicNanoseconds
        return true
    }

    func remove(lease identifier: Identifier) { state.leases[identifier] = nil }
    func removeEverything() {
        let neglects = state.neglects
        state = InMemoryState()
        state.neglects = neglects
    }
}
