package import CASCore
import CASRepository
package import CASWire

extension SharedResources {
    /// How long a request waits for what is being made: less than clients and proxies do for an answer.
    static let makingSeconds: Int64 = 40

    /// The image of a snapshot that is to be made.
    struct ImageKey: Hashable {
        let snapshot: Digest
        let options: String
    }

    /// Has the image made that the snapshot of a ref is, after those that others asked for; false where that is not
    /// done within so many seconds.
    ///
    /// Without seconds it waits for as long as it takes. What is made already waits for nobody.
    package func makeImage(
        of entry: RefEntry, within seconds: Int64? = nil, domain: Domain
    ) async throws -> Bool {
        let isMade = try await blocking { [repository] in
            try repository.isDerived(entry, domain: domain)
        }
        if isMade { return true }
        let key = ImageKey(snapshot: entry.target.digest, options: entry.imageOptions)
        let made: Void? = try await images.answer(key, within: seconds) { [self] in
            try await blocking { [repository] in
                _ = try repository.derivedManifest(entry, domain: domain)
            }
        }
        return made != nil
    }
}

/// Answers about images of refs.
extension Door {
    /// What belongs to a ref besides its snapshot, or to a manifest of its name.
    func images(
        of name: RefName, _ query: Query, _ rights: Rights
    ) async throws -> RefImages {
        if let text = query["digest"] {
            guard let digest = Digest(hexadecimal: text) else {
                throw CASError(.invalidArgument, "'\(text)' is not a digest")
            }
            return try await blocking {
                try repository.images(of: digest, name: name.name, domain: domain)
            }
        }
        if query["derive"] == "1" {
            let most = SharedResources.makingSeconds
            let seconds = query["wait"].flatMap { Int64($0) } ?? most
            guard try await derive(name, within: min(max(0, seconds), most)) else {
                return .unfinished(name)
            }
        }
        return try await blocking {
            try repository.images(of: name, domain: domain) { rights.allows(.read, $0) }
        }
    }

    /// Has the image made that the snapshot of a ref is; false where it is not done yet.
    private func derive(_ name: RefName, within seconds: Int64) async throws -> Bool {
        let entry = try await blocking { try repository.ref(name, domain: domain) }
        guard let entry, entry.target.kind == .snapshot else { return true }
        return try await shared.makeImage(of: entry, within: seconds, domain: domain)
    }
}
