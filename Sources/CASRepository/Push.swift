import Synchronization
import CASCatalog
package import CASCore
import CASPack
import CASTree
package import CASWire

/// Uploads and commits of pushes.
extension Repository {
    /// Which of these digests are here, each as a record or as part of what this push uploaded.
    ///
    /// A directory that is here may still lack members: only a commit finds that out.
    package func missing(_ digests: [Digest], push: Identifier, domain: Domain) throws -> [Bool] {
        guard digests.count <= limits.digestsPerRequest else {
            throw CASError(
                .resourceExhausted, "\(digests.count) digests in one request are too many")
        }
        let session = try session(push, domain)
        // Before the look: what is answered to be here stays until the push ends.
        try holdLease(session)
        let present = try catalog.read { try $0.locations(of: digests, domain: domain) }
        let pending = session.locations(digests)
        let missing = zip(present, pending).map { $0 == nil && $1 == nil }
        try refusePurged(zip(digests, missing).filter(\.1).map(\.0), domain: domain)
        try protect(zip(digests, present).filter { $0.1 != nil }.map(\.0), domain: domain)
        counters.add(
            asked: UInt64(digests.count), present: UInt64(missing.count { !$0 }))
        return missing
    }

    /// Takes a body of whole records; a body whose number was taken before has no effect.
    ///
    /// Every record is checked against its key before it counts as here, unless `trusted` says that
    /// this very process computed the key.
    package func upload(
        push: Identifier, stream: Int, sequence: Int, records: UnsafeRawBufferPointer,
        trusted: Bool, domain: Domain
    ) throws {
        let session = try session(push, domain)
        try holdLease(session)
        let state = try session.stream(stream, limit: limits.streamsPerPush)
        let isDue = try writing {
            try state.withState { state in
                guard sequence > state.lastSequence else { return false }
                var ingest = try RecordIngest(
                    repository: self, session: session, isTrusted: trusted)
                let isDue = try ingest.take(records, &state)
                state.lastSequence = sequence
                return isDue
            }
        }
        if isDue { try commit(session: session, isEvent: false) { _ in } }
    }

    /// Moves a ref, and those that go with it, to snapshots whose last records come along, in one durable
    /// step.
    ///
    /// Repeating a push with the same identifier gives the same answer and moves nothing twice. Answers
    /// `missing` with what has to be uploaded first, `conflict` where the precondition does not hold and
    /// `unchanged` where the ref names this content already.
    package func commit(
        _ request: PushRequest, records: UnsafeRawBufferPointer, trusted: Bool, domain: Domain
    ) throws -> PushResponse {
        let request = try CommitDecision.checked(request, limits)
        if records.count == 0, request.others.isEmpty, let answer = try quickAnswer(request, domain)
        {
            counters.add(commits: 1)
            return answer
        }
        let session = try session(request.pushID, domain)
        if records.count > 0 {
            let stream = UploadStream()
            try writing {
                try stream.withState { state in
                    var ingest = try RecordIngest(
                        repository: self, session: session, isTrusted: trusted)
                    _ = try ingest.take(records, &state)
                }
            }
        }
        var brought = BroughtImages()
        let images = request.all.flatMap(\.images)
        if !images.isEmpty {
            // Their manifests are read before the commit, and may have come along just now.
            try commit(session: session, isEvent: false) { _ in }
            brought = try bring(images, domain: domain)
        }
        let response = try commit(session: session, isEvent: true) { [self, brought] context in
            try CommitDecision(self, context, brought, domain).decide(request)
        }
        if response.outcome != .missing {
            abandon(push: request.pushID)
        }
        return response
    }

    /// The answer that needs no transaction: this push was answered, or nothing is different.
    private func quickAnswer(_ request: PushRequest, _ domain: Domain) throws -> PushResponse? {
        try catalog.read { reader in
            if let answer = try reader.push(request.pushID, domain: domain) { return answer }
            guard request.expires == nil, request.lifetime == 0, request.kind == .snapshot,
                request.images.isEmpty,
                try reader.completeSnapshot(request.snapshot, domain: domain),
                let entry = try reader.ref(request.ref, domain: domain), entry.expires == nil,
                request.precondition.holds(entry),
                request.imageOptions ?? entry.imageOptions == entry.imageOptions,
                entry.target == RefTarget(kind: .snapshot, digest: request.snapshot)
            else { return nil }
            return .answer(request, .unchanged, entry, tree: entry.tree)
        }
    }
}
