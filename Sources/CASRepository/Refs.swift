import CASPack
import CASFileSystem
import CASCatalog
package import CASCore
import CASTree
package import CASWire

/// Refs, their history, tokens and usage.
extension Repository {
    /// What a ref names now; nil if there is no such ref.
    package func ref(_ name: RefName, domain: Domain) throws -> RefEntry? {
        try catalog.read { try $0.ref(name, domain: domain) }
    }

    /// Refs whose name begins with a prefix, in order, beginning behind `after`.
    package func refs(
        prefix: String, after: RefName?, limit: Int, domain: Domain
    ) throws -> [RefEntry] {
        try catalog.read {
            try $0.refs(
                prefix: prefix, after: after, limit: min(limit, limits.listingEntries),
                domain: domain)
        }
    }

    /// Moves and removals of a ref, newest first, beginning below `before`.
    package func history(
        _ name: RefName, before: UInt64?, limit: Int, domain: Domain
    ) throws -> [HistoryEntry] {
        try catalog.read {
            try $0.history(
                name, before: before, limit: min(limit, limits.listingEntries), domain: domain)
        }
    }

    /// Moves a ref to a complete snapshot, or to that of a complete tree; throws `aborted` where the
    /// precondition does not hold and `notFound` where the target is not here.
    package func setRef(
        _ name: RefName, _ update: RefUpdate, domain: Domain
    ) throws -> RefEntry {
        try RefLifetime.check(update.lifetime)
        let options = try update.imageOptions.map { try SnapshotImageOptions($0).text }
        let found = try resolve(.digest(update.target, name: nil), domain: domain)
        let expires =
            update.lifetime == 0 ? nil : RefLifetime.end(update.lifetime, from: clock.now())
        return try commit(session: nil, isEvent: true) { [self] context in
            let transaction = context.transaction
            let present = try transaction.ref(name, domain: domain)
            try Repository.require(update.precondition, name, present)
            let totals = try totals(found, context, domain)
            try Repository.keepBase(of: options, transaction, domain)
            let target = RefTarget(kind: .snapshot, digest: found.snapshot)
            if let present, present.target == target {
                guard
                    present.expires != expires || present.lifetime != update.lifetime
                        || options ?? present.imageOptions != present.imageOptions
                else { return present }
                try Repository.requireLasting(
                    name, update.lifetime, try RuleSet(try transaction.rules(domain: domain)))
                let entry = try Repository.setEnd(
                    present, expires, update.lifetime, imageOptions: options, context,
                    domain: domain)
                try holdFromNow(entry, context, domain)
                return entry
            }
            let rules = try RuleSet(try transaction.rules(domain: domain))
            try Repository.requireMovable(present, rules)
            try Repository.requireLasting(name, update.lifetime, rules)
            try requireRoom(
                for: name, found.snapshot, totals.bytes, rules, transaction, domain: domain)
            let now = clock.now()
            let sequence = try transaction.nextSequence()
            let move = HistoryEntry(
                sequence: sequence, name: name, previous: present?.target, target: target,
                provenance: update.provenance, pushID: nil, recorded: now,
                imageOptions: present?.imageOptions ?? "")
            let entry = RefEntry(
                name: name, target: target, tree: found.tree, totals: totals,
                sequence: sequence, moved: now, provenance: update.provenance,
                expires: expires, lifetime: update.lifetime,
                imageOptions: options ?? present?.imageOptions ?? "")
            try transaction.move(move, entry, domain: domain)
            context.record(.refMoved(move, entry, domain))
            try holdFromNow(entry, context, domain)
            return entry
        }
    }

    /// Totals of a snapshot that is here whole; throws `dataLoss` or `notFound` where it is not.
    func totals(
        _ target: (snapshot: Digest, tree: Digest, ref: RefName?), _ context: CommitContext,
        _ domain: Domain
    ) throws -> TreeTotals {
        // A complete tree without a snapshot stands for itself.
        if target.snapshot == target.tree {
            guard let state = try context.transaction.treeState(of: target.tree, domain: domain)
            else { throw PlanBuilder.incomplete(target.tree) }
            try context.transaction.addBarrier(target.tree, domain: domain)
            return state.totals
        }
        var completeness = Completeness(context, domain: domain, limits: limits)
        let (snapshot, missing) = try completeness.check(target.snapshot)
        guard let snapshot, missing.count == 0 else {
            throw PlanBuilder.incomplete(missing.digests.first ?? target.snapshot)
        }
        return snapshot.totals
    }

    /// Removes a ref; throws `notFound`, or `aborted` where the precondition does not hold.
    package func removeRef(
        _ name: RefName, _ precondition: Precondition, _ provenance: Provenance, domain: Domain
    ) throws {
        try makingRoom { try remove(name, precondition, provenance, domain: domain) }
    }

    private func remove(
        _ name: RefName, _ precondition: Precondition, _ provenance: Provenance, domain: Domain
    ) throws {
        try commit(session: nil, isEvent: true) { [clock] context in
            let transaction = context.transaction
            let present = try transaction.ref(name, domain: domain)
            try Repository.require(precondition, name, present)
            try Repository.requireMovable(
                present, try RuleSet(try transaction.rules(domain: domain)))
            guard let present else {
                throw CASError(
                    .notFound, "there is no ref '\(name)'", hint: "cas ls lists what there is")
            }
            let move = HistoryEntry(
                sequence: try transaction.nextSequence(), name: name, previous: present.target,
                target: nil, provenance: provenance, pushID: nil, recorded: clock.now(),
                imageOptions: present.imageOptions)
            try transaction.move(move, nil, domain: domain)
            context.record(.refMoved(move, nil, domain))
        }
    }

    private static func require(
        _ precondition: Precondition, _ name: RefName, _ present: RefEntry?
    ) throws {
        guard precondition.holds(present) else {
            throw precondition.failure(name, present: present?.target.digest)
        }
    }

    // MARK: - Tokens

    /// Makes a token; its secret is in the answer only and stored nowhere.
    package func createToken(_ request: TokenRequest) throws -> TokenResponse {
        let secret = Identifier.random().bytes + Identifier.random().bytes
        let record = TokenRecord(
            id: .random(), name: request.name, secretHash: Digest.of(secret),
            scopes: request.scopes, created: clock.now(), expires: request.expires, revoked: nil)
        try commit(session: nil, isEvent: true) { context in
            try context.transaction.insert(token: record)
            context.record(.tokenCreated(record, sequence: try context.transaction.nextSequence()))
        }
        return TokenResponse(
            record: record, secret: "cas_\(record.id)_\(Hexadecimal.encode(secret))")
    }

    /// Ends a token for good; throws `notFound`.
    package func revokeToken(_ identifier: Identifier) throws {
        let now = clock.now()
        try commit(session: nil, isEvent: true) { context in
            guard try context.transaction.revoke(token: identifier, at: now) else {
                throw CASError(
                    .notFound, "there is no token '\(identifier)'",
                    hint: "cas token list shows them")
            }
            context.record(
                .tokenRevoked(
                    identifier, at: now, sequence: try context.transaction.nextSequence()))
        }
    }

    /// All tokens in the order in which they were made, without their secrets.
    package func tokens() throws -> [TokenRecord] {
        try catalog.read { try $0.tokens() }.sorted {
            ($0.created, $0.name, $0.id.description) < ($1.created, $1.name, $1.id.description)
        }
    }

    /// A token by its name in the store; nil where it was revoked, expired, or never was.
    package func tokenInForce(_ id: Identifier) throws -> TokenRecord? {
        guard let record = try catalog.read({ try $0.token(id) }), record.revoked == nil,
            record.expires.map({ clock.now() < $0 }) ?? true
        else { return nil }
        return record
    }

    /// The token whose secret text this is; nil for a wrong, revoked or expired one.
    package func authenticate(_ text: String) throws -> TokenRecord? {
        let parts = text.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "cas", let id = Identifier(hexadecimal: parts[1]),
            let secret = Hexadecimal.decode(parts[2])
        else { return nil }
        guard let record = try tokenInForce(id) else { return nil }
        // Digests are compared, not secrets: how long it takes says nothing about the secret.
        return Digest.of(secret) == record.secretHash ? record : nil
    }

    // MARK: - Usage

    /// What the store holds, as sums.
    package func usage(domain: Domain) throws -> UsageReport {
        let free = try fileSystem.freeBytes(configuration.activeDirectory)
        return try catalog.read { reader in
            let counts = try reader.counts(domain: domain)
            var rows: [String: (refs: UInt64, bytes: UInt64)] = [:]
            var logical: UInt64 = 0
            var scatter = UsageReport.Scatter()
            var after: RefName?
            while true {
                let page = try reader.refs(
                    prefix: "", after: after, limit: limits.listingEntries, domain: domain)
                for entry in page {
                    let prefix = String(entry.name.name.prefix { $0 != "/" })
                    let bytes = entry.totals?.bytes ?? 0
                    rows[prefix, default: (0, 0)].refs += 1
                    rows[prefix, default: (0, 0)].bytes += bytes
                    logical += bytes
                    if let measure = try reader.measure(of: entry.target.digest, domain: domain) {
                        scatter.refs += 1
                        scatter.ranges += measure.ranges
                        scatter.readBytes += measure.readBytes
                        scatter.restoredBytes += measure.restoredBytes
                    }
                }
                guard page.count == limits.listingEntries, let last = page.last else { break }
                after = last.name
            }
            let total = counts.total
            var report = UsageReport(
                refs: counts.refs, snapshots: counts.snapshots, blobs: counts.blobs,
                chunks: counts.sum(of: .chunk).count, packs: counts.packs,
                storedBytes: counts.packBytes, rawBytes: total.rawBytes, logicalBytes: logical,
                freeBytes: free,
                rows: rows.sorted { $0.key < $1.key }.map {
                    UsageReport.Row(
                        prefix: $0.key, refs: $0.value.refs, logicalBytes: $0.value.bytes)
                })
            report.scatter = scatter
            report.health = try health(reader)
            report.hasImages =
                try !reader.links(after: nil, limit: 1, domain: domain).isEmpty
                || !reader.derivedImages(after: nil, limit: 1, domain: domain).isEmpty
            return report
        }
    }
}
