import CASCatalog
import CASCore
import CASFileSystem
import CASRepository
import CASTestSupport
import CASWire

/// The one thing that fails in a course of events, by its number.
enum PlannedFault {
    case error(Int)
    case lostAnswer(Int)
    case powerCut(Int)
    case death(Int)
    case commit(Int, CommitFault)
}

/// What happens next.
extension StoreSimulation {
    private enum Action {
        case work, collect, purge, handOver, time, check, arm, room, close, death, cut, rebuild
    }
    private static let usual: [(Action, Int)] = [
        (.work, 560), (.collect, 120), (.handOver, 30), (.time, 35), (.check, 15),
    ]
    /// How often what happens where faults are rare, and where they are common.
    private static let faults: [(Action, rare: Int, common: Int)] = [
        (.arm, 10, 40), (.room, 4, 16), (.close, 3, 8), (.death, 3, 12), (.cut, 3, 12),
        (.rebuild, 2, 8),
    ]

    private func drawAction() -> Action {
        var table = StoreSimulation.usual
        switch faultiness {
        case .none: table.append((.close, 5))
        case .rare: table += StoreSimulation.faults.map { ($0.0, $0.rare) }
        case .common: table += StoreSimulation.faults.map { ($0.0, $0.common) }
        }
        if hasPurges { table.append((.purge, 12)) }
        var number = draw(table.reduce(0) { $0 + $1.1 })
        for (action, weight) in table {
            if number < weight { return action }
            number -= weight
        }
        return .work
    }

    /// One step.
    func act() throws {
        let number = draw(processes.count)
        let process = processes[number]
        switch drawAction() {
        case .work:
            if process.isAlive { try work(process) }
        case .collect:
            for _ in 0...draw(6) where process.isAlive { try collect(process) }
        case .purge: for _ in 0...draw(12) where process.isAlive { try purge(process) }
        case .handOver: if process.isAlive { try handOver(process) }
        case .time: passTime()
        case .check: if machineIsOn { try checkStructure() }
        case .arm: arm(process)
        case .room: changeRoom()
        case .close:
            note("\(process.name) ends")
            do { try process.close() } catch is CASError where !isCalm {}
        case .death:
            note("\(process.name) dies")
            process.die()
        case .cut:
            note("the power is cut")
            machine.cutPower()
        case .rebuild: try rebuild()
        }
        try throwNested()
    }

    private var machineIsOn: Bool { !machine.isOff }

    private func passTime() {
        let day: UInt64 = 86_400
        let seconds = [1, 30, 900, 1_800, 7_200, day, 3 * day, 16 * day, 31 * day]
        let passed = seconds[draw(seconds.count)]
        note("\(passed) s pass")
        clock.advance(nanoseconds: passed * 1_000_000_000)
    }

    // MARK: - Faults

    private func arm(_ process: SimulatedProcess) {
        isCalm = false
        let number = 1 + draw(80)
        let injected = CASError(.unavailable, "injected")
        switch draw(8) {
        case 0, 1:
            note("operation \(number) will fail")
            machine.inject(.error(injected), at: number)
        case 2:
            let kinds: [SimulatedFileSystem.Operation] = [
                .synchronize, .synchronizeDirectory, .rename, .link, .read, .readObject,
                .putObject, .deleteObject, .truncate, .append, .remove,
            ]
            let kind = kinds[draw(kinds.count)]
            note("\(kind) \(1 + number / 10) will fail")
            machine.inject(.error(injected), at: 1 + number / 10, kinds: [kind])
        case 3:
            note("the answer of a put or so \(1 + number / 20) will be lost")
            machine.inject(
                .lostAnswer(injected), at: 1 + number / 20,
                kinds: [.putObject, .listObjects, .deleteObject])
        case 4, 5:
            note("the power will be cut at operation \(number)")
            machine.inject(.powerCut, at: number)
        case 6:
            note("\(process.name) will die at operation \(number)")
            process.operationsLeft = number
        default:
            let fault = CommitFault.allCases[draw(4)]
            note("commit \(1 + number / 10): \(fault)")
            commitFault = (1 + number / 10, fault)
        }
    }

    /// Has one thing fail in the whole course.
    func plan(_ fault: PlannedFault?) {
        guard let fault else { return }
        isCalm = false
        let injected = CASError(.unavailable, "injected")
        switch fault {
        case .error(let number): machine.inject(.error(injected), at: number)
        case .lostAnswer(let number):
            machine.inject(
                .lostAnswer(injected), at: number,
                kinds: [.putObject, .listObjects, .deleteObject])
        case .powerCut(let number): machine.inject(.powerCut, at: number)
        case .death(let number): processes[0].operationsLeft = number
        case .commit(let number, let fault): commitFault = (number, fault)
        }
    }

    private func changeRoom() {
        if draw(2) == 0 {
            note("there is room again")
            machine.setCapacity(nil)
        } else {
            isCalm = false
            let room = draw(6_000)
            note("\(room) bytes of room are left")
            let used = machine.fileSizes.values.reduce(0, +)
            machine.setCapacity(used + room)
        }
    }

    /// Takes back what the machine was to fail at.
    func disarmMachine() {
        machine.inject(.error(CASError(.unavailable, "never")), at: .max)
    }

    /// Takes back all that was to fail.
    func disarm() {
        disarmMachine()
        machine.setCapacity(nil)
        commitFault = nil
        for process in processes { process.operationsLeft = nil }
        isCalm = true
    }

    // MARK: - Ends and beginnings

    /// Starts the machine and processes again, if they are gone, and checks what the store holds then.
    func settle() throws {
        var isNew = false
        if machine.isOff {
            startMachine()
            isNew = true
        }
        for number in processes.indices where !processes[number].isAlive {
            processes[number].die()
            summary.deaths += 1
            try startProcess(number)
            isNew = true
        }
        if isNew, !machine.isOff, processes.allSatisfy(\.isAlive) {
            // What was lost is seen now, whatever else is armed.
            try checkEverything()
        }
    }

    private func startMachine() {
        summary.reboots += 1
        for process in processes { process.die() }
        machine = machine.afterPowerCut(seed: random.next())
        if place == .copies { machine.setLinks(.nowhere) }
        commitFault = nil
        isCalm = true
        note("the machine starts")
    }

    /// Opens the store; what was to fail may do so meanwhile.
    private func startProcess(_ number: Int) throws {
        for attempt in 0..<4 {
            if attempt == 3 { disarm() }
            do {
                if machine.isOff { startMachine() }
                try reopen(number)
                return
            } catch let error as CASError {
                try throwNested()
                processes[number].die()
                guard !isCalm || machine.isOff else {
                    throw fail("the store does not open: \(error)")
                }
                note("does not open: \(error)")
            }
        }
    }

    /// Ends everybody and makes a new catalog from the packs.
    func rebuild() throws {
        guard catalogIsBegun else { return }
        for process in processes {
            if draw(2) == 0 { process.die() }
            do { try process.close() } catch is CASError where !isCalm {}
        }
        guard !machine.isOff else { return }
        summary.rebuilds += 1
        let process = makeProcess(0)
        processes[0] = process
        note("the index is rebuilt")
        let old = catalog
        catalog = StoreSimulation.makeCatalog(settings)
        do {
            try process.open { process in
                let result = try Repository.rebuildIndex(
                    makeConfiguration(), fileSystem: ProcessFileSystem(process),
                    objects: try backend(process), catalog: ProcessCatalog(process, catalog),
                    clock: clock)
                for ref in result.report.incompleteRefs {
                    let entry = try result.repository.ref(ref, domain: .standard)
                    // Of an image a layer or what it is made of may have been purged.
                    if try entry?.target.kind == .manifest && !purgedDigests().isEmpty { continue }
                    guard let entry, try isTouched(entry.target.digest) else {
                        throw fail("\(ref) is not whole after a rebuild")
                    }
                }
                return result.repository
            }
            try checkRebuilt(from: old)
            isCollectedInDoubt = false
            model.images.rebuilds += 1
        } catch let error as CASError {
            // The old one stays in its place until the new one is whole.
            catalog = old
            try noteStrays()
            process.die()
            guard !isCalm || machine.isOff else { throw fail("a rebuild failed: \(error)") }
            note("the rebuild failed: \(error)")
        }
    }

    /// Remembers packs that a rebuild made before it failed: nobody knows them, and nothing is in them.
    private func noteStrays() throws {
        let known = Set(try catalog.read { try $0.packs() }.map { "\($0.identifier).pack" })
        for path in machine.fileSizes.keys where path.hasPrefix("/store/active/") {
            if !known.contains(FilePaths.name(path)) { strays.insert(path) }
        }
    }

    /// Whether the store was ever made: there is nothing to rebuild before.
    private var catalogIsBegun: Bool {
        (try? catalog.read { try $0.lastSequence() > 0 }) ?? false
    }

    /// Lets everybody come to an end without faults and checks all there is.
    func finish() throws {
        note("calm")
        disarm()
        try settle()
        for client in clients {
            for _ in 0..<200 where !client.isIdle {
                try client.step(processes[client.home])
                try throwNested()
            }
            guard client.isIdle else { throw fail("client \(client.number) gets nowhere") }
        }
        isObserved = false
        // A pack that failed is put right when the store is opened again.
        for _ in 0..<2 {
            for process in processes { try process.close() }
            for number in processes.indices { try reopen(number) }
        }
        for process in processes { try process.close() }
        let left = machine.fileSizes.keys.filter { path in
            path.hasPrefix("/store/active/") && !strays.contains(path)
        }.sorted()
        guard left.isEmpty else { throw fail("packs stay behind: \(left)") }
        for number in processes.indices { try reopen(number) }
        try checkEverything()
        try rebuild()
        for number in processes.indices where !processes[number].isAlive { try reopen(number) }
        try checkEverything()
        try checkGarbageGoes()
    }
}
