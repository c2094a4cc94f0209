import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASRepository
import CASStorage
import CASTestSupport
import CASWire

/// Held by the process that collects.
final class CollectionToken: Sendable {}

/// Collection among everything else, and what has to be left of a store in the end.
extension StoreSimulation {
    /// Days after which nothing is protected that no ref and no pin names.
    static let quietDays: UInt64 = 60

    func makeConfiguration() -> RepositoryConfiguration {
        var configuration = configuration
        configuration.lockForCollection = { [unowned self] in
            guard collecting == nil else {
                throw CASError(.failedPrecondition, "another process collects")
            }
            let token = CollectionToken()
            collecting = token
            return token
        }
        return configuration
    }

    var pace: CollectionPace {
        var pace = CollectionPace()
        pace.directories = 4 << draw(5)
        pace.rows = 8 << draw(5)
        pace.copiedBytes = 1_000 << draw(4)
        return pace
    }

    /// One step of a process's collection, or the begin of one.
    func collect(_ process: SimulatedProcess) throws {
        guard let repository = process.repository else { return }
        if process.purge != nil { return try purge(process) }
        try forgetUnkeptImages()
        do {
            guard let collector = process.collector else {
                process.collector = try Collector(repository, pace: pace)
                return note("\(process.name) begins to collect")
            }
            if try collector.step() { return }
            process.collector = nil
            summary.collections += 1
            summary.deleted += Int(collector.progress["deleted"])
            note("\(process.name) collected: \(collector.progress.figures)")
            if collector.progress["incomplete"] > 0, try purgedDigests().isEmpty {
                throw fail("a collection misses something: \(collector.progress.findings)")
            }
        } catch let error as CASError {
            if error.code == .failedPrecondition, collecting != nil, process.collector == nil {
                return
            }
            note("collection failed: \(error)")
            isCollectedInDoubt = true
            guard isExcused(error, process) else { throw fail("collection failed: \(error)") }
            // Sometimes somebody goes on with it, sometimes begins anew.
            if draw(2) == 0 { process.collector = nil }
        }
    }

    /// Collects without anybody else until nothing is left to do, and checks that only what is kept is there.
    func checkGarbageGoes() throws {
        guard let process = processes.first, let repository = process.repository else { return }
        // The first one ends what expired, which stays for another 30 days.
        for _ in 0..<4 {
            clock.advance(nanoseconds: StoreSimulation.quietDays * 86_400 * 1_000_000_000)
            try forgetUnkeptImages()
            let collector = try Collector(repository)
            while try collector.step() {}
            note("collected: \(collector.progress.figures) \(collector.progress.findings)")
            try repository.storeSealedPacks()
        }
        try checkEverything()
        // Where a directory was purged that a ref still has above it, nothing is taken.
        guard try purgedDigests().isEmpty else { return }
        try catalog.read { reader in
            var kept: Set<Digest> = []
            for entry in try reader.refs(prefix: "", after: nil, limit: 1_000, domain: .standard) {
                keep(entry.target.digest, &kept)
            }
            for pin in try reader.pins(domain: .standard)
            where pin.expires.map({ $0 > clock.now() }) ?? true {
                keep(pin.digest, &kept)
            }
            let digests = model.universe.digests
            if hasImages { kept.formUnion(try keepableImages(reader)) }
            for (digest, place) in zip(
                digests, try reader.locations(of: digests, domain: .standard))
            where place != nil && !kept.contains(digest) && digest != .empty {
                throw fail("\(digest.short) stays although nothing keeps it")
            }
            try checkNoImagesStay(reader)
            try checkPacks(reader)
        }
    }

    private func keep(_ snapshot: Digest, _ kept: inout Set<Digest>) {
        guard let tree = model.trees[snapshot] else { return }
        kept.formUnion(model.universe.members(tree))
    }

    /// Checks that objects and the catalog's packs are the same, and that no pack is empty.
    private func checkPacks(_ reader: any CatalogReader) throws {
        var objects: Set<Identifier> = []
        if place == .objects {
            objects = Set(self.objects.names)
        } else {
            let names = try machine.list("/store/packs").filter { $0.hasSuffix(".pack") }
            objects = Set(names.compactMap { Identifier(hexadecimal: $0.dropLast(5)) })
        }
        let stored = try reader.packs().filter(\.isStored)
        let known = Set(stored.map(\.identifier))
        guard objects == known else {
            throw fail("objects and packs differ: \(objects.symmetricDifference(known))")
        }
        guard try reader.doomedPacks().isEmpty else { throw fail("a doomed pack stays") }
        let usage = try reader.packUsage()
        for pack in stored where pack.packClass != .metadata {
            guard usage[pack.number]?.count ?? 0 > 0 else { throw fail("an empty pack stays") }
        }
    }
}
