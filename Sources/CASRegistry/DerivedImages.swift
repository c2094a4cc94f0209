import CASCore
import CASHTTP
import CASOCI
import CASRepository
import CASWire
import HTTPTypes

/// Images that snapshots are, at this door.
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
            _ = try await shared.makeImage(of: entry, domain: domain)
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
