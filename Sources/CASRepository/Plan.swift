import CASCatalog
package import CASCore
import CASPack
import CASTree
package import CASWire

/// What a fetch transfers: made once, named, and served to any number of connections.
final class FetchPlan: Sendable {
    /// One distinct file: the record of its content, or its chunk list and then its chunks.
    struct Unit: Sendable {
        let digest: Digest
        let first: BlobLocation
        /// Index of its chunks among the plan's, and how many; none where the blob is one chunk.
        let chunks: Range<Int>
        let storedBytes: UInt64
        /// Bytes of the file.
        let rawBytes: UInt64
    }

    let snapshotDigest: Digest
    let snapshot: Snapshot
    let have: Digest?
    /// Directory and attributes messages that the other side lacks, parents first.
    let metadata: [(digest: Digest, location: BlobLocation)]
    let units: [Unit]
    let chunks: [(digest: Digest, location: BlobLocation)]
    let metadataBytes: UInt64
    let storedBytes: UInt64
    let rawBytes: UInt64

    init(
        snapshotDigest: Digest, snapshot: Snapshot, have: Digest?,
        metadata: [(digest: Digest, location: BlobLocation)], units: [Unit],
        chunks: [(digest: Digest, location: BlobLocation)], rawBytes: UInt64
    ) {
        self.snapshotDigest = snapshotDigest
        self.snapshot = snapshot
        self.have = have
        self.metadata = metadata
        self.units = units
        self.chunks = chunks
        self.rawBytes = rawBytes
        metadataBytes = metadata.reduce(0) { $0 + $1.location.recordBytes }
        storedBytes = units.reduce(0) { $0 + $1.storedBytes }
    }

    /// The units of one of `count` shares, about equal in bytes, in the order of packs.
    ///
    /// What is in a share follows from the trees alone: between two requests records may move to other packs
    /// and the plan be made again.
    func share(_ index: Int, of count: Int) -> ArraySlice<Unit> {
        func border(_ number: Int) -> Int {
            let target = rawBytes / UInt64(count) * UInt64(number)
            guard number < count else { return units.count }
            var sum: UInt64 = 0
            for (position, unit) in units.enumerated() {
                if sum >= target { return position }
                sum += unit.rawBytes
            }
            return units.count
        }
        return FetchPlan.inPackOrder(units[border(index)..<border(index + 1)], chunks)[...]
    }

    /// Units as they lie in packs.
    ///
    /// A list lies in a metadata pack; what counts for reading is where its chunks lie.
    static func inPackOrder(
        _ units: some Sequence<Unit>, _ chunks: [(digest: Digest, location: BlobLocation)]
    ) -> [Unit] {
        units.sorted { left, right in
            BlobLocation.precedes(
                left.chunks.isEmpty ? left.first : chunks[left.chunks.lowerBound].location,
                right.chunks.isEmpty ? right.first : chunks[right.chunks.lowerBound].location)
        }
    }

    /// Its name: from it alone the plan can be made again.
    static func name(_ want: Digest, have: Digest?) -> String {
        "\(want.hexadecimal)-\(have?.hexadecimal ?? "0")"
    }
}

extension BlobLocation {
    /// Bytes of the whole record.
    var recordBytes: UInt64 {
        UInt64(RecordHeader.byteCount + RecordHeader.trailerByteCount) + UInt64(storedLength)
    }

    static func precedes(_ left: BlobLocation, _ right: BlobLocation) -> Bool {
        (left.pack, left.offset) < (right.pack, right.offset)
    }
}

extension Repository {
    /// What a reference names: a snapshot and its tree; throws `notFound`.
    ///
    /// Accepts a ref, the digest of a snapshot, or that of a complete tree (whose newest snapshot it is
    /// then, or one without attributes).
    package func resolve(
        _ target: Reference.Target, domain: Domain
    ) throws -> (snapshot: Digest, tree: Digest, ref: RefName?) {
        try view(domain) { reader in
            switch target {
            case .ref(let name):
                guard let entry = try reader.ref(name, domain: domain) else {
                    throw CASError(
                        .notFound, "there is no ref '\(name)'", hint: "cas ls lists what there is")
                }
                guard entry.target.kind == .snapshot, let tree = entry.tree else {
                    throw Repository.isImage("'\(name)'", entry.target.digest)
                }
                return (entry.target.digest, tree, name)
            case .digest(let digest, _):
                let source = try StoredDirectories(self, reader, domain: domain)
                let found = try snapshot(digest, reader, source, domain)
                return (found.digest, found.snapshot.tree.digest, nil)
            }
        }
    }

    /// What is said of an image to who asks for a snapshot.
    static func isImage(_ what: String, _ digest: Digest) -> CASError {
        CASError(
            .failedPrecondition, "\(what) names an image, not a snapshot",
            hint:
                "pull it with podman, docker or skopeo from this server; cas ls and cas image inspect "
                + "show what is in it", digest: digest)
    }

    /// The snapshot that a digest stands for: its own, one of that tree, or that of an image.
    private func snapshot(
        _ digest: Digest, _ reader: any CatalogReader, _ source: StoredDirectories,
        _ domain: Domain
    ) throws -> (digest: Digest, snapshot: Snapshot) {
        if let snapshot = try source.snapshot(digest) { return (digest, snapshot) }
        if let known = try reader.snapshotOf(tree: digest, domain: domain),
            let snapshot = try source.snapshot(known)
        {
            return (known, snapshot)
        }
        if let reason = try reader.purged([digest], domain: domain)[0] {
            throw Repository.wasPurged(digest, reason)
        }
        // The manifest of the image that a snapshot is.
        for image in try reader.derivedImages(
            naming: digest, limit: limits.listingEntries, domain: domain)
        where image.manifest == digest {
            return try snapshot(image.tree, reader, source, domain)
        }
        if try reader.parts(of: digest, domain: domain) != nil {
            throw Repository.isImage("this", digest)
        }
        guard let location = try reader.location(of: digest, domain: domain),
            let state = try reader.treeState(of: digest, domain: domain)
        else {
            throw CASError(
                .notFound, "the store has no snapshot or complete tree with this digest",
                digest: digest)
        }
        let snapshot = Snapshot(
            tree: SizedDigest(digest: digest, size: UInt64(location.rawLength)), attributes: nil,
            stableAttributes: nil, totals: state.totals)
        return (digest, snapshot)
    }

    /// Plans a fetch of what somebody wants and does not have.
    ///
    /// With `renews`, prolongs the refs of the name that expire and hold it.
    package func plan(
        _ request: PlanRequest, renews: Bool = true, domain: Domain
    ) throws -> PlanResponse {
        let reference = try Reference(request.want)
        let found = try resolve(reference.target, domain: domain)
        if case .digest(let digest, let name) = reference.target, digest != found.snapshot,
            digest != found.tree
        {
            // Who asks by a digest checks what comes against it, and can not check this.
            throw CASError(
                .failedPrecondition,
                "this is the image that the snapshot \(found.snapshot) is",
                hint: "name the snapshot: \(name.map { "\($0)@" } ?? "")\(found.snapshot)",
                digest: digest)
        }
        let plan = try plan(found.snapshot, have: request.have, domain: domain)
        // Whoever fetches it: who knows a digest may, and a job that starts again finds its code.
        var isByDigest = false
        if case .digest = reference.target { isByDigest = true }
        use(found.snapshot, isByDigest: isByDigest, domain: domain)
        if renews {
            switch reference.target {
            case .ref(let name): renew(name.name, holding: found.snapshot, domain: domain)
            case .digest(let digest, .some(let name)):
                renew(name, holding: digest, domain: domain)
            case .digest: break
            }
        }
        return PlanResponse(
            planID: FetchPlan.name(plan.snapshotDigest, have: plan.have), ref: found.ref,
            snapshot: plan.snapshotDigest,
            snapshotMessage: plan.snapshot.encode(), haveAccepted: plan.have != nil,
            metadataBytes: plan.metadataBytes, dataBytes: plan.storedBytes,
            dataRawBytes: plan.rawBytes, files: UInt64(plan.units.count),
            shares: min(16, max(1, Int(plan.storedBytes >> 22))))
    }

    /// The plan of that name, from the cache or made again.
    func plan(named name: String, domain: Domain) throws -> FetchPlan {
        let parts = name.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let want = Digest(hexadecimal: parts[0]),
            parts[1] == "0" || Digest(hexadecimal: parts[1]) != nil
        else {
            throw CASError(.invalidArgument, "'\(name)' is not the name of a plan")
        }
        let have = Digest(hexadecimal: parts[1])
        let plan = try plan(want, have: have, domain: domain)
        guard plan.have == have else {
            // Its base went since: what the client lacks is not in the shares that it knows of.
            throw CASError(
                .aborted, "the store no longer has what this fetch builds on",
                hint: "run the same command again", digest: have)
        }
        // A fetch that takes long is still one; of what is not here there is none.
        use(want, isByDigest: false, domain: domain)
        return plan
    }

    private func plan(_ want: Digest, have: Digest?, domain: Domain) throws -> FetchPlan {
        let name = FetchPlan.name(want, have: have)
        return try plans.plan(name) { try makePlan(want, have: have, domain: domain) }
    }

    private func makePlan(_ want: Digest, have: Digest?, domain: Domain) throws -> FetchPlan {
        if let have, let plan = try makeUpdate(want, have, domain) { return plan }
        // What is of no use as a base must not cost another plan.
        if have != nil { return try plan(want, have: nil, domain: domain) }
        return try view(domain) { reader in
            let source = try StoredDirectories(self, reader, domain: domain)
            let wanted = try snapshot(want, reader, source, domain)
            var builder = PlanBuilder(
                reader: reader, source: source, domain: domain, limits: limits)
            return try builder.build(want, wanted.snapshot, have: nil, base: nil)
        }
    }

    /// What somebody with a base lacks; nil where the store does not have that base whole.
    private func makeUpdate(
        _ want: Digest, _ have: Digest, _ domain: Domain
    ) throws -> FetchPlan? {
        try view(domain) { reader in
            let source = try StoredDirectories(self, reader, domain: domain)
            let wanted = try snapshot(want, reader, source, domain)
            guard let location = try reader.location(of: have, domain: domain),
                location.kind == .snapshot || location.kind == .directory,
                let base = try? snapshot(have, reader, source, domain).snapshot
            else { return nil }
            var builder = PlanBuilder(
                reader: reader, source: source, domain: domain, limits: limits)
            do {
                return try builder.build(want, wanted.snapshot, have: have, base: base)
            } catch let error as CASError where error.code == .dataLoss {
                // Perhaps only the base is lost: without it the plan names what is.
                return nil
            }
        }
    }
}
