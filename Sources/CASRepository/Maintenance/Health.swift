import CASCatalog
import CASCore
import CASWire
import Synchronization

/// How far the round is that this process reads.
struct ScrubPosition {
    var started: Timestamp
    var findings: UInt64
    var doneBytes: UInt64
    var allBytes: UInt64
}

/// What is remembered of the store's care.
extension Repository {
    /// When the store was last looked after, as far as the catalog knows; a new index knows nothing of it.
    func health(_ reader: any CatalogReader) throws -> StoreHealth {
        var health = try lastCare(reader)
        if let live = scrubPosition.withLock({ $0 }) {
            health.roundBegan = live.started
            health.roundFindings = live.findings
            health.roundDoneBytes = live.doneBytes
            health.roundBytes = live.allBytes
        } else if let bytes = try reader.setting(SettingName.scrub),
            let cursor = try ScrubCursor(decoding: bytes), let next = cursor.nextPack
        {
            let packs = try reader.packs()
            health.roundBegan = cursor.started
            health.roundFindings = cursor.findings
            health.roundBytes = packs.reduce(0) { $0 + $1.committedBytes }
            health.roundDoneBytes = packs.filter { $0.number < next }.reduce(0) {
                $0 + $1.committedBytes
            }
        }
        health.reserveBytes = try reserve.heldBytes
        health.isReserveReleased = reserve.wasReleased
        return health
    }

    private func lastCare(_ reader: any CatalogReader) throws -> StoreHealth {
        try reader.setting(SettingName.health).map { bytes in
            try bytes.withUnsafeBytes { try StoreHealth(decoding: $0, limits: limits) }
        } ?? StoreHealth()
    }

    /// Remembers that a collection ended, and how many gaps kept it from deleting anything.
    func noteCollected(gaps: UInt64, _ transaction: any CatalogTransaction) throws {
        var health = try lastCare(transaction)
        health.collected = clock.now()
        health.gaps = gaps
        try transaction.set(setting: SettingName.health, health.encode())
    }

    /// Remembers that everything was read, and what that found.
    func noteScrubbed(findings: UInt64, _ transaction: any CatalogTransaction) throws {
        var health = try lastCare(transaction)
        health.scrubbed = clock.now()
        health.findings = findings
        try transaction.set(setting: SettingName.health, health.encode())
    }
}
