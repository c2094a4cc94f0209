import CASCatalog
package import CASCore
import CASPack
import CASTree
import CASWire

/// Manifests: small blobs that tags name, and that name others.
extension Repository {
    /// How many of those that a manifest lacks are told: the rest is not looked for.
    package static let missingTold = 100

    /// Stores a manifest, links it and moves its tags, in one durable step.
    ///
    /// Tags are refs: rules, quotas and histories hold for them. Throws `invalidArgument` for a bad name or tag,
    /// `resourceExhausted` for too much, `failedPrecondition` where a rule forbids a move.
    package func putManifest(
        _ manifest: NewManifest, domain: Domain
    ) throws -> PutManifestResult {
        let put = try ManifestPut(manifest, limits)
        try refusePurged([put.digest], domain: domain)
        for attempt in 0..<3 {
            let session = PushSession(
                identifier: .random(), domain: domain, now: clock.monotonicNanoseconds())
            try writing {
                let isHere = try catalog.read {
                    try $0.location(of: put.digest, domain: domain) != nil
                }
                // Looked at again in the commit: what is here now may be gone by then.
                if attempt > 0 || !isHere { try store(manifest.bytes, put.digest, session) }
            }
            let result = try writing {
                try commit(session: session, isEvent: true) { [self] context in
                    try decide(put, context, domain)
                }
            }
            if let result { return result }
        }
        throw CASError(
            .unavailable, "a manifest could not be stored", hint: "try again", digest: put.digest)
    }

    /// Appends a blob that is its own only chunk.
    func store(_ bytes: [UInt8], _ digest: Digest, _ session: PushSession) throws {
        let record = ReusableBuffer(capacity: bytes.count + RecordHeader.byteCount + 4)
        let header = try bytes.withUnsafeBytes {
            try appendRecord(.chunk, digest, $0, to: record)
        }
        try append(record.bytes, [header], .small, session)
    }

    /// What becomes of a manifest; nil where its bytes are gone and have to be stored again.
    ///
    /// Everything that may be refused is looked at before anything is changed.
    private func decide(
        _ put: ManifestPut, _ context: CommitContext, _ domain: Domain
    ) throws -> PutManifestResult? {
        let transaction = context.transaction
        let manifest = put.manifest
        let missing = try lacking(manifest, transaction, domain)
        guard missing.isEmpty else { return .missing(missing) }
        guard try revive(put.digest, transaction, domain) else { return nil }
        let totals = try ImageSums(self, transaction, domain).totals(of: put)
        let rules = try RuleSet(try transaction.rules(domain: domain))
        let target = RefTarget(kind: .manifest, digest: put.digest)
        var moves: [(name: RefName, present: RefEntry?)] = []
        for tag in put.tags {
            let present = try transaction.ref(tag, domain: domain)
            guard manifest.precondition.holds(present), present != nil || !manifest.movesOnly
            else { return .conflict }
            if present?.target == target { continue }
            try Repository.requireMovable(present, rules)
            try requireRoom(
                for: tag, put.digest, totals.bytes, rules, transaction, domain: domain)
            moves.append((tag, present))
        }
        let now = clock.now()
        let link = try link(
            of: put, totals.bytes, isHeld: !put.tags.isEmpty, now, transaction, domain)
        let replaced = [put.digest] + manifest.manifests
        try requireRoom(
            forLone: [link],
            insteadOf: Set(replaced.map { NamedDigest(name: manifest.name, digest: $0) }),
            rules, transaction, domain)
        try insert(link, context, now, domain)
        try holdFromNow(put, context, now, domain)
        if let sha512 = manifest.sha512 {
            try insert(alias: sha512, put.digest, context, domain)
        }
        for (name, present) in moves {
            let sequence = try transaction.nextSequence()
            let move = HistoryEntry(
                sequence: sequence, name: name, previous: present?.target, target: target,
                provenance: manifest.provenance, pushID: nil, recorded: now,
                imageOptions: present?.imageOptions ?? "")
            let entry = RefEntry(
                name: name, target: target, tree: nil, totals: totals, sequence: sequence,
                moved: now, provenance: manifest.provenance, expires: nil)
            try transaction.move(move, entry, domain: domain)
            context.record(.refMoved(move, entry, domain))
        }
        return .done(put.digest)
    }

    /// Records a SHA-512 unless it is known.
    func insert(
        alias sha512: [UInt8], _ digest: Digest, _ context: CommitContext, _ domain: Domain
    ) throws {
        let transaction = context.transaction
        guard try transaction.alias(sha512, domain: domain) == nil else { return }
        try transaction.insert(alias: sha512, digest, domain: domain)
        context.record(
            .digestAlias(
                sha512: sha512, digest, domain, sequence: try transaction.nextSequence()))
    }

    /// What a manifest needs and its name does not have, whole, each once; of much that lacks only the first.
    ///
    /// An index may name layers, as build caches do, so what stands for a manifest may be a blob; and a manifest may
    /// name another one as a blob.
    func lacking(
        _ manifest: NewManifest, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> [Digest] {
        var missing: [Digest] = []
        var seen: Set<Digest> = []
        let needed =
            manifest.blobs.map { ($0, [OCILink.Kind.blob, .manifest]) }
            + manifest.manifests.map { ($0, [.manifest, .blob]) }
        for (digest, kinds) in needed where seen.insert(digest).inserted {
            if try has(manifest.name, digest, as: kinds, transaction, domain),
                try revive(digest, transaction, domain)
            {
                continue
            }
            missing.append(digest)
            if missing.count == Repository.missingTold { return missing }
        }
        for digest in manifest.optional where seen.insert(digest).inserted {
            _ = try revive(digest, transaction, domain)
        }
        return missing
    }

    /// Whether a name has something as one of these, by a link or because one of its snapshots is that image.
    func has(
        _ name: String, _ digest: Digest, as kinds: [OCILink.Kind], _ reader: any CatalogReader,
        _ domain: Domain
    ) throws -> Bool {
        try kinds.contains { kind in
            if try reader.link(name, digest, kind, domain: domain) != nil { return true }
            return try derivedLink(name, digest, kind, reader, domain) != nil
        }
    }

    /// Bytes of a blob, whether they are stored or made; nil if there is none.
    func blobSize(
        _ digest: Digest, _ reader: any CatalogReader, _ domain: Domain
    ) throws -> UInt64? {
        if let size = try bytes(of: digest, reader, domain) { return size }
        return try derivedLayer(digest, reader, domain)?.size
    }
}

/// A manifest that was looked at by itself.
struct ManifestPut: Sendable {
    /// What was read of it, without its bytes: a commit may bring many.
    private(set) var manifest: NewManifest
    let digest: Digest
    /// Its bytes.
    let size: UInt64
    let tags: [RefName]
    /// What it needs, each once, and what it names else.
    let parts: [Digest]
    let optional: [Digest]

    init(_ manifest: NewManifest, _ limits: Limits) throws {
        try Repository.requireName(manifest.name)
        guard manifest.bytes.count <= limits.manifestBytes, !manifest.bytes.isEmpty else {
            throw CASError(
                .resourceExhausted,
                "a manifest has from one byte to \(ByteCount.text(UInt64(limits.manifestBytes)))")
        }
        guard manifest.tags.count <= limits.tagsPerManifest else {
            throw CASError(
                .resourceExhausted,
                "a manifest is put under \(limits.tagsPerManifest) tags at once at most")
        }
        for type in [manifest.mediaType, manifest.artifactType] {
            guard type.utf8.count <= OCILink.maximumTypeBytes else {
                throw CASError(.resourceExhausted, "a media type is too long")
            }
        }
        if let sha512 = manifest.sha512, sha512.count != SHA512Hasher.byteCount {
            throw CASError(.invalidArgument, "a SHA-512 has \(SHA512Hasher.byteCount) bytes")
        }
        digest = Digest.of(manifest.bytes)
        size = UInt64(manifest.bytes.count)
        self.manifest = manifest
        self.manifest.bytes = []
        var seenTags: Set<String> = []
        tags = try manifest.tags.filter { seenTags.insert($0).inserted }.map {
            try RefName(name: manifest.name, tag: $0)
        }
        var seen: Set<Digest> = []
        parts = (manifest.blobs + manifest.manifests).filter { seen.insert($0).inserted }
        optional = manifest.optional.filter { seen.insert($0).inserted }
        guard seen.count <= OCILink.maximumParts else {
            throw CASError(.resourceExhausted, "a manifest names too many blobs")
        }
    }

    /// All that it names.
    var reached: [Digest] { parts + optional }

    /// Takes note that somebody else puts it too: it goes by all that is said of it.
    mutating func add(isByDigest: Bool, sha512: [UInt8]) {
        manifest.isByDigest = manifest.isByDigest || isByDigest
        if !sha512.isEmpty { manifest.sha512 = sha512 }
    }

    func link(_ now: Timestamp) -> OCILink {
        OCILink(
            name: manifest.name, digest: digest, kind: .manifest,
            size: size, mediaType: manifest.mediaType,
            artifactType: manifest.artifactType, subject: manifest.subject,
            isRoot: manifest.isByDigest, created: now, parts: parts, optional: optional,
            isBySHA512: manifest.sha512 != nil)
    }
}
