import CASCore
import CASWire

/// What a scrub read and found so far.
struct ScrubLog {
    private(set) var progress = MaintenanceProgress()
    private let limit: Int
    /// Whether recorded state may be nowhere but in the catalog.
    private(set) var lacksEvents = false
    /// Packs whose header or footer is damaged.
    private(set) var damagedPacks: Set<Int64> = []

    /// A log that keeps so many findings and counts all, with these figures.
    init(limit: Int, _ figures: [String]) {
        self.limit = limit
        for name in figures { progress.add(name, 0) }
    }

    mutating func enter(_ phase: String) { progress.phase = phase }

    mutating func add(_ name: String, _ count: UInt64 = 1) { progress.add(name, count) }

    mutating func add(read bytes: Int) {
        progress.add("readBytes", UInt64(bytes))
        progress.movedBytes += UInt64(bytes)
    }

    /// Adds something that is not as it should be.
    mutating func add(_ finding: MaintenanceState.Finding) {
        progress.add("findings")
        note(finding)
    }

    /// Adds what belongs to a finding and is none of its own.
    mutating func note(_ finding: MaintenanceState.Finding) {
        if progress.findings.count < limit { progress.findings.append(finding) }
    }

    /// Adds that the header or the footer of a pack is damaged.
    mutating func add(_ finding: MaintenanceState.Finding, frameOf pack: Int64) {
        damagedPacks.insert(pack)
        add(finding)
    }

    /// Adds that recorded state can not be read any more.
    mutating func add(lostEvents text: String) {
        lacksEvents = true
        add(MaintenanceState.Finding("event", text: text))
    }

    /// Takes note that the catalog's state was recorded anew.
    mutating func recordedAnew() {
        lacksEvents = false
        progress.add("recordedAnew")
    }
}
