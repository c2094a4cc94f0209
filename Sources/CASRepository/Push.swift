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

    /// Moves a ref to a snapshot whose last records come along, in one durable step.
    ///
    /// Repeating a push with the same identifier gives the same answer and moves nothing twice. Answers
    /// `missing` with what has to be uploaded first, `conflict` where the precondition does not hold and
    /// `unchanged` where the ref names this content already.
    package func commit(
        _ request: PushRequest, records: UnsafeRawBufferPointer, trusted: Bool, domain: Domain
    ) throws -> PushResponse {
        try RefLifetime.check(request.lifetime)
        var request = request
        request.imageOptions = try request.imageOptions.map { try SnapshotImageOptions($0).text }
        return try commit(checked: request, records: records, trusted: trusted, domain: domain)
    }

    private func commit(
        checked request: PushRequest, records: UnsafeRawBufferPointer, trusted: Bool,
        domain: Domain
    ) throws -> PushResponse {
        if records.count == 0, let answer = try quickAnswer(request, domain) {
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
        let response = try commit(session: session, isEvent: true) { [self] context in
            try decide(request, context, domain)
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
            guard request.expires == nil, request.lifetime == 0,
                try reader.completeSnapshot(request.snapshot, domain: domain),
                let entry = try reader.ref(request.ref, domain: domain), entry.expires == nil,
                request.precondition.holds(entry),
                request.imageOptions ?? entry.imageOptions == entry.imageOptions,
                entry.target == RefTarget(kind: .snapshot, digest: request.snapshot)
            else { return nil }
            return answer(request, .unchanged, entry, tree: entry.tree)
        }
    }

    private func decide(
        _ request: PushRequest, _ context: CommitContext, _ domain: Domain
    ) throws -> PushResponse {
        let transaction = context.transaction
        if let answer = try transaction.push(request.pushID, domain: domain) { return answer }
        let present = try transaction.ref(request.ref, domain: domain)
        guard request.precondition.holds(present) else {
            return answer(request, .conflict, present, tree: nil)
        }
        var completeness = Completeness(context, domain: domain, limits: limits)
        let (snapshot, missing) = try completeness.check(request.snapshot)
        guard let snapshot, missing.count == 0 else {
            for case (let digest, .some(let reason)) in zip(
                missing.digests, try transaction.purged(missing.digests, domain: domain))
            {
                throw Repository.wasPurged(digest, reason)
            }
            var response = answer(request, .missing, present, tree: nil)
            response.missing = missing.digests
            response.missingCount = missing.count
            return response
        }
        let expires =
            request.lifetime == 0
            ? request.expires : RefLifetime.end(request.lifetime, from: clock.now())
        if let present, present.target.kind == .snapshot,
            let old = try storedSnapshot(present.target.digest, context, domain),
            snapshot.isUnchanged(from: old),
            try isWhole(present.target.digest, request.snapshot, context, domain)
        {
            let options = request.imageOptions
            if present.expires != expires || present.lifetime != request.lifetime
                || options ?? present.imageOptions != present.imageOptions
            {
                try Repository.requireLasting(
                    request.ref, request.lifetime,
                    try RuleSet(try transaction.rules(domain: domain)))
                _ = try Repository.setEnd(
                    present, expires, request.lifetime, imageOptions: options, context,
                    domain: domain)
            }
            return answer(request, .unchanged, present, tree: old.tree.digest)
        }
        let rules = try RuleSet(try transaction.rules(domain: domain))
        try Repository.requireMovable(present, rules)
        try Repository.requireLasting(request.ref, request.lifetime, rules)
        try requireRoom(
            for: request.ref, request.snapshot, snapshot.totals.bytes, rules, transaction,
            domain: domain)
        let now = clock.now()
        let sequence = try transaction.nextSequence()
        let move = HistoryEntry(
            sequence: sequence, name: request.ref, previous: present?.target,
            target: RefTarget(kind: .snapshot, digest: request.snapshot),
            provenance: request.provenance, pushID: request.pushID, recorded: now)
        let entry = RefEntry(
            name: request.ref, target: RefTarget(kind: .snapshot, digest: request.snapshot),
            tree: snapshot.tree.digest, totals: snapshot.totals, sequence: sequence,
            moved: now, provenance: request.provenance,
            expires: expires, lifetime: request.lifetime,
            imageOptions: request.imageOptions ?? present?.imageOptions ?? "")
        try transaction.move(move, entry, domain: domain)
        context.record(.refMoved(move, entry, domain))
        var response = answer(request, .done, present, tree: snapshot.tree.digest)
        response.sequence = sequence
        try transaction.insert(push: request.pushID, response, domain: domain)
        return response
    }

    /// Whether what a ref names is here whole, as far as it is not what was just found to be.
    ///
    /// Attributes that only it has may be lost: then the ref has to move for somebody to fetch it again.
    private func isWhole(
        _ present: Digest, _ pushed: Digest, _ context: CommitContext, _ domain: Domain
    ) throws -> Bool {
        if present == pushed { return true }
        var completeness = Completeness(context, domain: domain, limits: limits)
        do {
            return try completeness.check(present).missing.count == 0
        } catch let error as CASError where error.code == .dataLoss {
            return false
        }
    }

    private func storedSnapshot(
        _ digest: Digest, _ context: CommitContext, _ domain: Domain
    ) throws -> Snapshot? {
        guard let location = try context.transaction.location(of: digest, domain: domain) else {
            return nil
        }
        do {
            return try Snapshot(decoding: try context.records.payload(digest, location))
        } catch let error as CASError where error.code == .dataLoss {
            // What the ref named is damaged: it is not unchanged, and the push must be able to heal it.
            return nil
        }
    }

    private func answer(
        _ request: PushRequest, _ outcome: PushResponse.Outcome, _ present: RefEntry?,
        tree: Digest?
    ) -> PushResponse {
        let isUnchanged = outcome == .unchanged
        return PushResponse(
            outcome: outcome,
            snapshot: isUnchanged ? present?.target.digest ?? request.snapshot : request.snapshot,
            tree: tree ?? .zero, previous: present?.target.digest,
            sequence: isUnchanged ? present?.sequence ?? 0 : 0, missing: [], missingCount: 0)
    }
}

extension Precondition {
    /// Whether a ref is where somebody expects it to be; a digest may be that of its tree too.
    func holds(_ present: RefEntry?) -> Bool {
        switch self {
        case .any: true
        case .absent: present == nil
        case .digest(let digest):
            present.map { $0.target.digest == digest || $0.tree == digest } ?? false
        }
    }
}
