import CASCore
import CASWire

extension CollectionRun {
    /// Measures new snapshots and brings together what lies too scattered, before packs are looked at: what
    /// was copied leaves gaps there.
    mutating func gather() throws {
        progress.phase = "bringing scattered files together"
        if gathering == nil {
            gathering = [
                Forwarding(repository, domain: domain), Measuring(repository, domain: domain),
            ]
        }
        guard let task = gathering?.last else { return enter(.pack) }
        let before = task.progress.movedBytes
        let goesOn: Bool
        do {
            goesOn = try task.step()
        } catch let error as CASError where error.code == .resourceExhausted {
            // A full disk needs space before order.
            return enter(.pack)
        }
        progress.movedBytes += task.progress.movedBytes - before
        guard !goesOn else { return }
        for figure in task.progress.figures { progress.add(figure.name, figure.value) }
        gathering?.removeLast()
    }
}
