import CASCatalog
package import CASCore
package import CASWire

/// Changes of what repositories of images have, each recorded.
extension Repository {
    /// Links a blob that another name has; false where that one does not have it.
    package func mount(
        _ digest: Digest, from source: String, to name: String, domain: Domain
    ) throws -> Bool {
        try Repository.requireName(name)
        let now = clock.now()
        return try makingRoom {
            try commit(session: nil, isEvent: true) { [self] context in
                let transaction = context.transaction
                let known = try transaction.link(source, digest, .blob, domain: domain)?.link
                guard
                    let link = try known
                        ?? derivedLink(source, digest, .blob, transaction, domain),
                    try revive(digest, transaction, domain)
                else { return false }
                let new = OCILink(
                    name: name, digest: digest, kind: .blob, size: link.size, created: now)
                try insert(new, context, now, domain)
                return true
            }
        }
    }

    /// Records a link unless it is there as it is; counts as relied on now either way.
    func insert(
        _ link: OCILink, _ context: CommitContext, _ now: Timestamp, _ domain: Domain
    ) throws {
        let transaction = context.transaction
        var link = link
        if let present = try transaction.link(link.name, link.digest, link.kind, domain: domain)?
            .link
        {
            link.created = present.created
            guard link != present else {
                return try transaction.use(
                    link: link.name, link.digest, link.kind, at: now.seconds, domain: domain)
            }
        }
        try transaction.insert(link: link, used: now.seconds, domain: domain)
        context.record(.ociLinked(link, domain, sequence: try transaction.nextSequence()))
    }

    /// Ends a link, that of a manifest with all tags of the name that name it, at once; those tags, or nil where
    /// there is no such link; throws `failedPrecondition` where a tag is created once.
    package func unlink(
        _ name: String, _ digest: Digest, kind: OCILink.Kind, _ provenance: Provenance,
        domain: Domain
    ) throws -> [RefName]? {
        try makingRoom {
            try commit(session: nil, isEvent: true) { [self] context in
                try unlink(name, digest, kind, provenance, context, domain)
            }
        }
    }

    private func unlink(
        _ name: String, _ digest: Digest, _ kind: OCILink.Kind, _ provenance: Provenance,
        _ context: CommitContext, _ domain: Domain
    ) throws -> [RefName]? {
        let transaction = context.transaction
        guard try transaction.link(name, digest, kind, domain: domain) != nil else { return nil }
        var tags: [RefEntry] = []
        if kind == .manifest {
            tags = try transaction.refs(named: name, holding: digest, limit: .max, domain: domain)
                .filter { $0.target == RefTarget(kind: .manifest, digest: digest) }
            let rules = try RuleSet(try transaction.rules(domain: domain))
            for tag in tags { try Repository.requireMovable(tag, rules) }
        }
        let now = clock.now()
        for tag in tags {
            let move = HistoryEntry(
                sequence: try transaction.nextSequence(), name: tag.name, previous: tag.target,
                target: nil, provenance: provenance, pushID: nil, recorded: now)
            try transaction.move(move, nil, domain: domain)
            context.record(.refMoved(move, nil, domain))
        }
        _ = try transaction.removeLink(name, digest, kind, domain: domain)
        context.record(
            .ociUnlinked(
                name: name, digest, kind, provenance, domain,
                sequence: try transaction.nextSequence()))
        return tags.map(\.name)
    }

    /// Ends all links to what is removed for good, and what knows it by other names.
    static func unlink(
        _ digests: [Digest], _ provenance: Provenance, _ context: CommitContext, _ domain: Domain
    ) throws {
        let transaction = context.transaction
        try transaction.remove(aliasesAndImagesOf: digests, domain: domain)
        for digest in digests {
            for link in try transaction.links(to: digest, limit: .max, domain: domain) {
                _ = try transaction.removeLink(link.name, digest, link.kind, domain: domain)
                context.record(
                    .ociUnlinked(
                        name: link.name, digest, link.kind, provenance, domain,
                        sequence: try transaction.nextSequence()))
            }
        }
    }

    /// Throws `invalidArgument` for what is no name.
    static func requireName(_ name: String) throws { _ = try RefName(name: name) }
}
