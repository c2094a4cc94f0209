import CASCatalog
import CASTestSupport

/// What a simulated process does on purpose in a wrong way, so that a test sees the simulation find it.
enum Neglect: CaseIterable, Sendable {
    /// Files are synced only after the transaction that relies on them.
    case syncAfterCommit
    /// Names of new files are never made durable.
    case directorySync
    /// A process that believes in a sync that failed.
    case failedSync
    /// Nothing ever stops counting as complete.
    case completeness
    /// Collections are not told of what becomes reachable.
    case barrier
    /// What was condemned is not taken back.
    case revival
    /// A request of an upload is answered before what it brought is synced.
    case uploadSync
    /// Manifests keep nothing of what they name.
    case parts

    /// What the catalog leaves out.
    var ofCatalog: InMemoryCatalog.Neglect? {
        switch self {
        case .completeness: .completeness
        case .barrier: .barrier
        case .revival: .revival
        case .parts: .parts
        case .syncAfterCommit, .directorySync, .failedSync, .uploadSync: nil
        }
    }
}

/// Is told of each operation of a process before it happens.
protocol OperationObserver: AnyObject, Sendable {
    /// Throws what the operation fails with.
    func willPerform(_ operation: String, _ path: String, by process: SimulatedProcess) throws
    /// What becomes of the transaction that is about to be committed; nil for what is usual.
    func faultOfCommit() -> CommitFault?
}

/// What happens at the COMMIT of a transaction.
enum CommitFault: CaseIterable, Sendable {
    /// It fails and had no effect.
    case failure
    /// It has its effect and fails.
    case lostAnswer
    /// The power goes before it has an effect.
    case cutBefore
    /// The power goes just after it had its effect.
    case cutAfter
}
