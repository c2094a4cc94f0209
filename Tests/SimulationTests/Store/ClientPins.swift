import CASCatalog
import CASCore
import CASRepository
import CASTestSupport
import CASWire

/// Pins as clients set and end them, and as the model knows them.
extension StoreSimulation {
    func pin(_ repository: Repository, _ process: SimulatedProcess) throws {
        guard !model.snapshots.isEmpty else { return }
        let digest = model.snapshots[draw(model.snapshots.count)]
        let lifetime: UInt64 = draw(3) == 0 ? 86_400 : 0
        let wasProtected = try isProtected(digest.description)
        note("pins \(digest.short)")
        model.pins[digest] = .some(nil)
        do {
            let record = try repository.pin(
                digest, name: "team/p0", PinRequest(lifetime: lifetime), domain: .standard)
            model.pins[digest] = .some(.set(record.expires))
        } catch let error as CASError {
            note("pin failed: \(error)")
            if [.notFound, .dataLoss, .failedPrecondition].contains(error.code) {
                guard try !wasProtected || !isProtected(digest.description) else {
                    throw fail("\(digest.short) can not be pinned: \(error)")
                }
                // Whatever it was before: this changed nothing, but a repeated one may be unknown.
                return
            }
            guard isExcused(error, process) else { throw fail("a pin failed: \(error)") }
        }
    }

    func unpin(_ repository: Repository, _ process: SimulatedProcess) throws {
        let pinned = model.pins.keys.sorted()
        guard !pinned.isEmpty else { return }
        let digest = pinned[draw(pinned.count)]
        note("unpins \(digest.short)")
        model.pins[digest] = .some(nil)
        do {
            try repository.unpin(digest, name: "team/p0", Provenance(), domain: .standard)
            model.pins[digest] = .some(.ended)
        } catch let error as CASError {
            if error.code == .notFound { return model.pins[digest] = .some(.ended) }
            guard isExcused(error, process) else { throw fail("an unpin failed: \(error)") }
        }
    }

    /// Snapshots that are pinned for sure.
    var pinned: [Digest] {
        let now = clock.now()
        return model.pins.filter { _, state in
            guard case .set(let end) = state else { return false }
            return end.map { $0 > now } ?? true
        }.keys.sorted()
    }

    /// Compares the store's pins with those that were acknowledged.
    func checkPins(_ repository: Repository) throws {
        let known = try catalog.read { try $0.pins(domain: .standard) }
        for digest in model.pins.keys.sorted() {
            guard let state = model.pins[digest], let state else { continue }
            let record = known.first { $0.digest == digest }
            switch state {
            case .ended:
                if record != nil { throw fail("the pin of \(digest.short) was ended and is back") }
            case .set(let end):
                guard end.map({ $0 > clock.now() }) ?? true else { continue }
                guard record?.expires == end else {
                    throw fail("the pin of \(digest.short) is lost")
                }
            }
        }
        for digest in pinned {
            if try isTouched(digest) { continue }
            guard let tree = model.trees[digest],
                try Fetched(repository, digest.description).isWhole(tree)
            else { throw fail("\(digest.short) is pinned and not whole") }
        }
    }
}
