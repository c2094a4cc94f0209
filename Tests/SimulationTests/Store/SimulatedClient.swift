import CASCore
import CASPack
import CASRepository
import CASTestSupport
import CASTree
import CASWire

/// Somebody who uses the store through one process: pushes, fetches, tags and removes, one call at a step.
final class SimulatedClient {
    enum Activity {
        case push(PushActivity)
        case fetch(FetchActivity)
        case image(ImagePushActivity)
        case pull(PullActivity)
    }
    /// What a script says.
    enum Call {
        case push, image, pull, derive, untag, unlink, options, lookUp
    }
    let number: Int
    /// Which process it uses.
    let home: Int
    unowned let simulation: StoreSimulation
    private var activity: Activity?

    init(_ simulation: StoreSimulation, number: Int, home: Int) {
        self.simulation = simulation
        self.number = number
        self.home = home
    }

    var isIdle: Bool { activity == nil }
    /// Everything that it is pushing.
    var pushed: [Digest] {
        switch activity {
        case .push(let push): simulation.model.universe.members(push.tree)
        case .image(let push): push.uploaded(simulation.model.images)
        case .fetch, .pull, nil: []
        }
    }

    /// The next call of what it is doing, or the first of something new.
    func step(_ process: SimulatedProcess) throws {
        guard let repository = process.repository else { return }
        // Taken out: the other process's clients may work in the middle of the call, this one not.
        let current = activity
        activity = nil
        switch current {
        case .push(var push):
            if try !push.step(simulation, repository, process) { activity = .push(push) }
        case .fetch(var fetch):
            if try !fetch.step(simulation, repository, process) { activity = .fetch(fetch) }
        case .image(var push):
            if try !push.step(simulation, repository, process) { activity = .image(push) }
        case .pull(var pull):
            if try !pull.step(simulation, repository, process) { activity = .pull(pull) }
        case nil: try begin(repository, process)
        }
    }

    /// The first call of something about images.
    private func beginImage(_ repository: Repository, _ process: SimulatedProcess) throws {
        switch simulation.draw(20) {
        case 0..<5: try begin(.image, repository, process)
        case 5..<10: try begin(.pull, repository, process)
        case 10..<13: try begin(.derive, repository, process)
        case 13: try begin(.untag, repository, process)
        case 14..<17: try begin(.options, repository, process)
        case 17: try begin(.lookUp, repository, process)
        default: try begin(.unlink, repository, process)
        }
    }

    private func begin(
        _ call: Call, _ repository: Repository, _ process: SimulatedProcess
    ) throws {
        switch call {
        case .push: activity = .push(try PushActivity(simulation, client: number))
        case .image: activity = .image(try ImagePushActivity(simulation, client: number))
        case .pull: activity = PullActivity(simulation).map { .pull($0) }
        case .derive: try simulation.derive(repository, process)
        case .untag: try simulation.untag(repository, process)
        case .unlink: try simulation.unlink(repository, process)
        case .options: try simulation.setOptions(repository, process)
        case .lookUp: try simulation.lookUp(repository, process)
        }
    }

    private func begin(_ repository: Repository, _ process: SimulatedProcess) throws {
        if !simulation.script.isEmpty {
            return try begin(simulation.script.removeFirst(), repository, process)
        }
        if simulation.hasImages, simulation.draw(2) == 0 {
            return try beginImage(repository, process)
        }
        switch simulation.draw(12) {
        case 0..<5: try begin(.push, repository, process)
        case 5..<8:
            guard let want = drawWant(repository) else { return }
            activity = .fetch(FetchActivity(want: want))
        case 8: try tag(repository, process)
        case 9: try simulation.pin(repository, process)
        case 10: try simulation.unpin(repository, process)
        default: try remove(repository, process)
        }
    }

    private func drawWant(_ repository: Repository) -> String? {
        if simulation.draw(3) == 0, !simulation.model.snapshots.isEmpty {
            let all = simulation.model.snapshots
            return all[simulation.draw(all.count)].description
        }
        return simulation.drawRef().description
    }

    // MARK: - Calls of one step

    private func tag(_ repository: Repository, _ process: SimulatedProcess) throws {
        let all = simulation.model.snapshots
        guard !all.isEmpty else { return }
        let target = all[simulation.draw(all.count)]
        let ref = simulation.drawRef()
        let wasProtected = try simulation.isProtected(target.description)
        let marker = simulation.begin(ref, target, nil)
        simulation.note("client \(number) tags \(ref) as \(target.short), \(marker)")
        do {
            let entry = try repository.setRef(
                ref, RefUpdate(target: target, provenance: Provenance(author: marker)),
                domain: .standard)
            let moved = entry.provenance.author == marker
            simulation.end(marker, .done(moved: moved), sequence: moved ? entry.sequence : nil)
        } catch let error as CASError {
            let isSafe = try wasProtected && simulation.isProtected(target.description)
            try simulation.refuse(
                marker, error, process,
                expected: isSafe ? [] : [.notFound, .dataLoss, .failedPrecondition])
        }
    }

    private func remove(_ repository: Repository, _ process: SimulatedProcess) throws {
        let ref = simulation.drawRef()
        let marker = simulation.begin(ref, nil, nil)
        let change = simulation.model.options.begin(ref, "")
        simulation.note("client \(number) removes \(ref), \(marker)")
        do {
            try repository.removeRef(ref, .any, Provenance(author: marker), domain: .standard)
            simulation.end(marker, .done(moved: true))
            simulation.model.options.end(change, isDone: true)
        } catch let error as CASError {
            simulation.model.options.end(change, isDone: error.code == .notFound ? false : nil)
            try simulation.refuse(marker, error, process, expected: [.notFound])
        }
    }
}

extension Digest {
    /// Enough of it for a person.
    var short: String { String(hexadecimal.prefix(8)) }
}

extension StoreSimulation {
    func drawRef() -> RefName {
        // Valid for any number: the text is ours.
        let text = draw(3) == 0 ? "team/p\(draw(3)):t\(draw(2))" : "team/p\(draw(3))"
        guard let name = try? RefName(text) else { preconditionFailure(text) }
        return name
    }

    func begin(
        _ ref: RefName, _ target: Digest?, _ pushID: Identifier?, expires: Bool = false
    ) -> String {
        model.begin(
            ref, target, pushID, expires: expires, step: step, at: clock.now().seconds)
    }

    func end(_ marker: String, _ state: StoreModel.Move.State, sequence: UInt64? = nil) {
        note("\(marker): \(state)")
        model.end(marker, state, sequence: sequence, step: step, at: clock.now().seconds)
    }

    /// Takes an error for the answer to a move.
    func refuse(
        _ marker: String, _ error: CASError, _ process: SimulatedProcess,
        expected: Set<CASError.Code>
    ) throws {
        note("\(marker) failed: \(error)")
        if expected.contains(error.code) { return end(marker, .refused) }
        guard isExcused(error, process) else { throw fail("\(marker) failed: \(error)") }
    }
}
