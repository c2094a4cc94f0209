import CASCore

extension Repository {
    /// The work of ending what expired and what rules say.
    func retentionTask(isDryRun: Bool, domain: Domain) throws -> (any MaintenanceTask)? {
        try retentionPass(isDryRun: isDryRun, domain: domain)
    }
}
