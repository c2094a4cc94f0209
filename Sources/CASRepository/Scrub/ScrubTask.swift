import CASCatalog
package import CASCore
import CASPack
import CASStorage
import Synchronization

/// Reads everything that a store holds and compares it with what it should be.
///
/// Packs first, in the order in which they were made: a bad record is taken out of use, so that its
/// blob is missing and its trees are incomplete, and the next push that has it is asked for it. Then
/// the refs, whose trees are found complete again or named as affected.
///
/// `@unchecked Sendable`: all state is touched by `step` and `progress` only, which one thread at a
/// time calls.
package final class ScrubTask: MaintenanceTask, @unchecked Sendable {
    private enum Phase { case start, packs, mend, refs, done }

    private let repository: Repository
    private let domain: Domain
    /// The place of a background pass; nil for a scrub that somebody waits for.
    private var cursor: ScrubCursor?
    private var phase: Phase
    private var log: ScrubLog
    private var packs: ArraySlice<PackEntry> = []
    private var current: PackScrub?
    /// Packs whose frame is damaged, on their way into new ones.
    private var rewriting: Compaction?
    private let refs: RefScrub
    private var doneBytes: UInt64 = 0
    private var allBytes: UInt64 = 0
    private let isReport: Bool
    private let findingsBefore: UInt64

    /// A scrub of a whole store; with `isReport` only a look at which refs lack something.
    init(_ repository: Repository, isReport: Bool, cursor: ScrubCursor? = nil, domain: Domain) {
        self.repository = repository
        self.domain = domain
        self.cursor = cursor
        self.isReport = isReport
        findingsBefore = cursor?.findings ?? 0
        refs = RefScrub(repository, domain: domain)
        phase = isReport ? .refs : .start
        log = ScrubLog(
            limit: repository.limits.findings,
            (isReport ? [] : ["packs", "records", "readBytes", "findings"])
                + ["refs", "affectedRefs"])
        log.enter(isReport ? "looking at refs" : "reading packs")
    }

    package var progress: MaintenanceProgress { log.progress }

    package func step() throws -> Bool {
        defer { tellPosition() }
        return try advance()
    }

    private func advance() throws -> Bool {
        switch phase {
        case .start:
            try begin()
            phase = .packs
        case .packs:
            if try !stepPacks() {
                try mend()
                phase = .mend
            }
        case .mend:
            if try rewriting?.step() != true {
                log.enter("looking at refs")
                phase = .refs
            }
        case .refs:
            if try !refs.step(&log) {
                try end()
                phase = .done
            }
        case .done: break
        }
        return phase != .done
    }

    /// When its pass began.
    var started: Timestamp { cursor?.started ?? repository.clock.now() }

    /// How much of the packs was read, from 0 to 1.
    package var fraction: Double {
        guard phase == .packs || phase == .start else { return 1 }
        let current = current.map { Double($0.offset) } ?? 0
        return allBytes == 0 ? 0 : (Double(doneBytes) + current) / Double(allBytes)
    }

    /// What the pass found so far, also before a restart.
    private var findings: UInt64 { findingsBefore + log.progress["findings"] }

    /// Says how far a pass in the background is; one that failed goes on from its place in the catalog.
    private func tellPosition() {
        guard let cursor else { return }
        let isOver = phase == .done
        let done = phase == .packs ? doneBytes + (current?.offset ?? 0) : allBytes
        let position = ScrubPosition(
            started: cursor.started, findings: findings, doneBytes: min(done, allBytes),
            allBytes: allBytes)
        repository.scrubPosition.withLock { $0 = isOver ? nil : position }
    }

    // MARK: - Packs

    private func begin() throws {
        let known = try repository.catalog.read { try $0.packs() }
        try checkPresence(known.filter(\.isStored))
        allBytes = known.reduce(0) { $0 + $1.committedBytes }
        let first = cursor?.nextPack ?? 0
        doneBytes = known.filter { $0.number < first }.reduce(0) { $0 + $1.committedBytes }
        packs = known.filter { $0.number >= first }[...]
    }

    /// Throws `failedPrecondition` where no sealed pack at all is there: a volume that is not mounted must
    /// not take everything out of use.
    private func checkPresence(_ stored: [PackEntry]) throws {
        guard let first = stored.first else { return }
        let byte = ReusableBuffer(capacity: 1)
        byte.resize(to: 1)
        for pack in stored {
            do {
                let count = try repository.objects.read(
                    pack.identifier, at: 0, into: byte.mutableBytes)
                if count != nil { return }
            } catch let error as CASError where error.code == .dataLoss {
                return
            }
        }
        throw CASError(
            .failedPrecondition, "none of the store's sealed packs is there",
            hint: "mount the volume that holds them; are they lost, then cas rebuild-index",
            path: repository.objects.place(of: first.identifier))
    }

    private func stepPacks() throws -> Bool {
        if current == nil {
            guard let next = packs.popFirst() else { return false }
            current = try PackScrub(repository, next, domain: domain)
        }
        guard let pack = current, try !pack.step(&log) else { return true }
        doneBytes += pack.entry.committedBytes
        current = nil
        if cursor != nil, let next = packs.first { try save { $0.nextPack = next.number } }
        return true
    }

    /// Records anew what only the catalog knows, and begins to write packs anew that a rebuild of the index
    /// could not read as they are.
    private func mend() throws {
        if log.lacksEvents {
            log.enter("repeating recorded state")
            // In a pack of its own: older packs then hold no event that counts.
            try repository.writer.seal { $0.packClass == .metadata }
            try repository.makeCheckpoint(domain: domain)
            log.recordedAnew()
        }
        guard !log.damagedPacks.isEmpty else { return }
        log.enter("writing damaged packs anew")
        let packs = try repository.catalog.read { try $0.packs() }
        let damaged = packs.filter { $0.isStored && log.damagedPacks.contains($0.number) }
        log.add("rewrittenPacks", UInt64(damaged.count))
        rewriting = Compaction(
            repository, pace: CollectionPace(), domain: domain, victims: damaged)
    }

    // MARK: - The cursor

    private func save(_ change: (inout ScrubCursor) -> Void) throws {
        guard var cursor else { return }
        change(&cursor)
        cursor.findings = findings
        self.cursor = cursor
        try repository.catalog.write { try $0.set(setting: SettingName.scrub, cursor.encode()) }
    }

    private func end() throws {
        if rewriting != nil { while try repository.deleteDoomedPacks(limit: 16) > 0 {} }
        try save { $0.nextPack = nil }
        guard !isReport else { return }
        let found = findings
        try repository.catalog.write { [repository] in
            try repository.noteScrubbed(findings: found, $0)
        }
    }
}

extension Repository {
    /// A scrub of everything; with `isReport` only a look at which refs lack something.
    package func scrub(isReport: Bool = false, domain: Domain) -> ScrubTask {
        ScrubTask(self, isReport: isReport, domain: domain)
    }

    /// The background scrub of which one pass begins in so many seconds: the pass that an earlier process
    /// began, or a new one; nil while none is due.
    package func backgroundScrub(every seconds: Int64, domain: Domain) throws -> ScrubTask? {
        let setting = try catalog.read { try $0.setting(SettingName.scrub) }
        let now = clock.now()
        var cursor = try setting.flatMap { try ScrubCursor(decoding: $0) }
        if let known = cursor, known.nextPack == nil {
            guard now.seconds - known.started.seconds >= seconds else { return nil }
            cursor = nil
        }
        return ScrubTask(
            self, isReport: false, cursor: cursor ?? ScrubCursor(started: now), domain: domain)
    }
}
