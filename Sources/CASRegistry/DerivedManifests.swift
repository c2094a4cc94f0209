import CASCore
import CASHTTP
import CASOCI
import CASRepository
import CASWire
import HTTPTypes

/// Images of snapshots that are being made: those who ask for one wait here, and hold no thread meanwhile.
///
/// One is made after the other, as each takes all processors.
actor DerivedManifests {
    private struct Key: Hashable {
        let snapshot: Digest
        let options: String
    }
    private static let maximumWaiting = 256
    private var making: [Key: Task<Void, any Error>] = [:]
    /// What was begun last, behind which the next one waits.
    private var last: Task<Void, any Error>?

    /// Calls `body` for what a ref names once it has its turn, and waits until that is done; what `isMade` says is
    /// there waits for nobody.
    func make(
        _ entry: RefEntry, unless isMade: @Sendable () async throws -> Bool,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        if try await isMade() { return }
        let key = Key(snapshot: entry.target.digest, options: entry.imageOptions)
        if let task = making[key] { return try await task.value }
        guard making.count < DerivedManifests.maximumWaiting else {
            throw CASError(
                .unavailable, "too many images are being made", hint: "try again in a minute")
        }
        let task = Task { [last] in
            _ = await last?.result
            try await body()
        }
        making[key] = task
        last = task
        defer {
            making[key] = nil
            if last == task { last = nil }
        }
        try await task.value
    }
}

extension RegistryDoor {
    /// What a tag names; makes the image that its snapshot is, where nobody asked for it before.
    func prepare(_ name: String, _ reference: ManifestReference) async throws -> RefEntry? {
        guard case .tag(let tag) = reference else { return nil }
        let ref = try RefName(name: name, tag: tag)
        let entry = try await shared.blocking { [repository, domain] in
            try repository.ref(ref, domain: domain)
        }
        guard let entry, entry.target.kind == .snapshot else { return entry }
        do {
            try await derived.make(
                entry,
                unless: { [shared, repository, domain] in
                    try await shared.blocking { try repository.isDerived(entry, domain: domain) }
                },
                { [shared, repository, domain] in
                    try await shared.blocking {
                        _ = try repository.derivedManifest(entry, domain: domain)
                    }
                })
        } catch let error as CASError
            where error.code == .dataLoss || error.code == .failedPrecondition
        {
            throw Refusal(.manifestUnknown, error.message, detail: error.hint)
        }
        return entry
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
