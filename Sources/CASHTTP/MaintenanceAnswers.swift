import CASCore
import CASRepository
import CASWire
import Hummingbird

/// Answers about long work on the store.
extension Door {
    /// Seconds that a request waits for the end of work at most.
    private static let maintenanceSeconds = 20
    private static let lookMilliseconds = 50

    func maintain(_ body: ReusableBuffer, _ rights: Rights) async throws -> Response {
        let request = try Door.decode(MaintenanceRequest.self, body)
        try rights.require(request.kind, isReport: request.isReport)
        if let ref = request.ref { try rights.require(.read, ref) }
        let state = try await blocking { [domain] in
            var request = request
            request.subject = rights.subject
            return try repository.maintain(request, domain: domain)
        }
        return Door.message(rights.readable(state))
    }

    /// How far work is; with `wait`, once it ended, or after so many seconds.
    func maintenance(
        _ id: Identifier, _ query: Query, _ rights: Rights
    ) async throws -> Response {
        let seconds = min(query["wait"].flatMap { Int($0) } ?? 0, Door.maintenanceSeconds)
        let end = ContinuousClock.now + .seconds(max(0, seconds))
        while true {
            guard let found = repository.maintenance.find(id) else {
                throw CASError(
                    .notFound, "the server knows nothing of this work",
                    hint: "it was started anew since; ask again")
            }
            // Findings that are about no ref are an administrator's, see below.
            try rights.require(found.kind, isReport: true)
            guard !found.state.isDone, ContinuousClock.now < end else {
                return Door.message(rights.readable(found.state))
            }
            try await Task.sleep(for: .milliseconds(Door.lookMilliseconds))
        }
    }
}

extension Rights {
    /// A state without what is about names that may not be read, or about none: who knows the digest of a
    /// snapshot may fetch it, and only an administrator may know all that were fetched or pinned.
    func readable(_ state: MaintenanceState) -> MaintenanceState {
        guard !isAdministrator else { return state }
        var state = state
        state.findings.removeAll { finding in
            guard !finding.name.isEmpty else { return true }
            let name = finding.name.prefix { $0 != ":" && $0 != "@" }
            return !allows(.read, String(name))
        }
        return state
    }
}
