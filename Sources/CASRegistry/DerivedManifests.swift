import CASCore
import CASHTTP
import CASOCI
import CASRepository
import CASWire
import HTTPTypes

/// Images of snapshots that are being made: those who ask for one wait here, and hold no thread meanwhile.
actor DerivedManifests {
    private struct Key: Hashable {
        let snapshot: Digest
        let options: String
    }
    private var making: [Key: Task<Void, any Error>] = [:]

    /// Calls `body` for what a ref names unless that is done already, and waits until it is.
    func make(
        _ entry: RefEntry, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let key = Key(snapshot: entry.target.digest, options: entry.imageOptions)
        if let task = making[key] { return try await task.value }
        let task = Task { try await body() }
        making[key] = task
        defer { making[key] = nil }
        try await task.value
    }
}

extension RegistryDoor {
    /// Makes the image that a tag's snapshot is, where nobody asked for it before.
    func prepare(_ name: String, _ reference: ManifestReference) async throws {
        guard case .tag(let tag) = reference else { return }
        let ref = try RefName(name: name, tag: tag)
        let entry = try await shared.blocking { [repository, domain] in
            try repository.ref(ref, domain: domain)
        }
        guard let entry, entry.target.kind == .snapshot else { return }
        do {
            try await derived.make(entry) { [shared, repository, domain] in
                try await shared.blocking {
                    _ = try repository.derivedManifest(entry, domain: domain)
                }
            }
        } catch let error as CASError
            where error.code == .dataLoss || error.code == .failedPrecondition
        {
            throw Refusal(.manifestUnknown, error.message, detail: error.hint)
        }
    }

    /// What is said of what a snapshot stands for: it goes with that.
    static func notDeletable(_ digest: OCIDigest) -> Refusal {
        var refusal = Refusal(
            .unsupported, "\(digest) belongs to a snapshot and goes with it",
            detail: "delete the tags that name the snapshot")
        refusal.headers[.allow] = "GET, HEAD"
        return refusal
    }
}
