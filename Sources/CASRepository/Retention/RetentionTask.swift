import CASCore

extension Repository {
    /// The work of ending what expired and what rules say; nil if there is nothing of the kind.
    func retentionTask(isDryRun: Bool, domain: Domain) throws -> (any MaintenanceTask)? { nil }
}
