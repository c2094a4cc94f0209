import CASCatalog
package import CASCore
import CASPack
import CASTree
package import CASWire
import Synchronization

/// What a fetch transfers: made once, named, and served to any number of connections.
final class FetchPlan: Sendable {
    /// One distinct file: the record of its content, or its chunk list and then its chunks.
    struct Unit: Sendable {
        let digest: Digest
        let first: BlobLocation
        /// Index of its chunks among the plan's, and how many; none where the blob is one chunk.
        let chunks: Range<Int>
        let storedBytes: UInt64
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

    /// The units of one of `count` shares, about equal in bytes, each a run in the order of packs.
    func share(_ index: Int, of count: Int) -> ArraySlice<Unit> {
        func border(_ number: Int) -> Int {
            let target = storedBytes / UInt64(count) * UInt64(number)
            guard number < count else { return units.count }
            var sum: UInt64 = 0
            for (position, unit) in units.enumerated() {
                if sum >= target { return position }
                sum += unit.storedBytes
            }
            return units.count
        }
        return units[border(index)..<border(index + 1)]
    }

    /// Its name: from it alone the plan can be made again.
    var name: String {
        "\(snapshotDigest.hexadecimal)-\(have?.hexadecimal ?? "0")"
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

/// Plans that were used last, bounded by the files that they hold together.
final class PlanCache: Sendable {
    private let capacity: Int
    private let state = Mutex<[(name: String, plan: FetchPlan)]>([])

    init(capacity: Int) { self.capacity = capacity }

    func plan(_ name: String) -> FetchPlan? {
        state.withLock { plans in
            guard let index = plans.firstIndex(where: { $0.name == name }) else { return nil }
            let found = plans.remove(at: index)
            plans.append(found)
            return found.plan
        }
    }

    func insert(_ plan: FetchPlan) {
        state.withLock { plans in
            plans.removeAll { $0.name == plan.name }
            plans.append((plan.name, plan))
            var total = plans.reduce(0) { $0 + $1.plan.units.count + $1.plan.chunks.count }
            while plans.count > 1, total > capacity || plans.count > 64 {
                let oldest = plans.removeFirst().plan
                total -= oldest.units.count + oldest.chunks.count
            }
        }
    }

    func removeAll() { state.withLock { $0 = [] } }
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
                    throw CASError(.failedPrecondition, "'\(name)' names an image, not a snapshot")
                }
                return (entry.target.digest, tree, name)
            case .digest(let digest, _):
                let source = try StoredDirectories(self, reader, domain: domain)
                let found = try snapshot(digest, reader, source, domain)
                return (found.digest, found.snapshot.tree.digest, nil)
            }
        }
    }

    /// The snapshot that a digest stands for: its own, or one of that tree.
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
    package func plan(_ request: PlanRequest, domain: Domain) throws -> PlanResponse {
        let reference = try Reference(request.want)
        let found = try resolve(reference.target, domain: domain)
        let plan = try plan(found.snapshot, have: request.have, domain: domain)
        return PlanResponse(
            planID: plan.name, ref: found.ref, snapshot: plan.snapshotDigest,
            snapshotMessage: plan.snapshot.encode(), haveAccepted: plan.have != nil,
            metadataBytes: plan.metadataBytes, dataBytes: plan.storedBytes,
            dataRawBytes: plan.rawBytes, files: UInt64(plan.units.count),
            shares: min(16, max(1, Int(plan.storedBytes >> 22))))
    }

    /// The plan of that name, from the cache or made again.
    func plan(named name: String, domain: Domain) throws -> FetchPlan {
        if let plan = plans.plan(name) { return plan }
        let parts = name.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let want = Digest(hexadecimal: parts[0]),
            parts[1] == "0" || Digest(hexadecimal: parts[1]) != nil
        else {
            throw CASError(.invalidArgument, "'\(name)' is not the name of a plan")
        }
        return try plan(want, have: Digest(hexadecimal: parts[1]), domain: domain)
    }

    private func plan(_ want: Digest, have: Digest?, domain: Domain) throws -> FetchPlan {
        let name = "\(want.hexadecimal)-\(have?.hexadecimal ?? "0")"
        if let plan = plans.plan(name) { return plan }
        let plan = try view(domain) { reader in
            let source = try StoredDirectories(self, reader, domain: domain)
            let wanted = try snapshot(want, reader, source, domain)
            var base: Snapshot?
            if let have, let location = try reader.location(of: have, domain: domain),
                location.kind == .snapshot || location.kind == .directory
            {
                base = try? snapshot(have, reader, source, domain).snapshot
            }
            let empty = PlanBuilder(
                reader: reader, source: source, domain: domain, limits: limits)
            if let base {
                do {
                    var builder = empty
                    return try builder.build(want, wanted.snapshot, have: have, base: base)
                } catch let error as CASError where error.code == .dataLoss {
                    // Perhaps only the base is lost: without it the plan names what is.
                }
            }
            var builder = empty
            return try builder.build(want, wanted.snapshot, have: nil, base: nil)
        }
        plans.insert(plan)
        return plan
    }
}

/// Collects what one tree has and another does not.
struct PlanBuilder {
    private struct Pair: Hashable {
        let directory: Digest
        let attributes: Digest?
    }
    let reader: any CatalogReader
    let source: StoredDirectories
    let domain: Domain
    let limits: Limits
    private var messages: [Digest] = []
    private var files: [Digest] = []
    private var seenFiles: Set<Digest> = []
    private var seenMessages: Set<Digest> = []
    private var visited: Set<Pair> = []

    init(reader: any CatalogReader, source: StoredDirectories, domain: Domain, limits: Limits) {
        self.reader = reader
        self.source = source
        self.domain = domain
        self.limits = limits
    }

    mutating func build(
        _ digest: Digest, _ snapshot: Snapshot, have: Digest?, base: Snapshot?
    ) throws -> FetchPlan {
        try snapshot.totals.check(limits)
        try collect(
            Pair(directory: snapshot.tree.digest, attributes: snapshot.attributes?.digest),
            base.map { Pair(directory: $0.tree.digest, attributes: $0.attributes?.digest) })
        let places = try locations(messages)
        let (units, chunks, rawBytes) = try PlanBuilder.units(
            files, reader: reader, domain: domain)
        return FetchPlan(
            snapshotDigest: digest, snapshot: snapshot, have: have,
            metadata: zip(messages, places).map { (digest: $0, location: $1) }, units: units,
            chunks: chunks, rawBytes: rawBytes)
    }

    private func locations(_ digests: [Digest]) throws -> [BlobLocation] {
        try zip(digests, try reader.locations(of: digests, domain: domain)).map { digest, place in
            guard let place else { throw PlanBuilder.incomplete(digest) }
            return place
        }
    }

    static func incomplete(_ digest: Digest) -> CASError {
        CASError(
            .dataLoss, "the store has lost a part of this snapshot",
            hint: "push the workspace again from where it is still whole: that heals the store",
            digest: digest)
    }

    /// Walks both trees side by side where they differ.
    ///
    /// What only moved within directories that differ is found too; what moved from elsewhere is
    /// sent again.
    private mutating func collect(_ root: Pair, _ base: Pair?) throws {
        var stack: [(new: Pair, old: Pair?)] = [(root, base)]
        var order: [Digest] = []
        while let (new, old) = stack.popLast() {
            guard new != old, visited.insert(new).inserted else { continue }
            guard UInt64(visited.count) < limits.treeEntries else {
                throw CASError(.resourceExhausted, "a tree has too many directories")
            }
            let (directory, attributes) = try load(new)
            let (oldDirectory, oldAttributes) = try old.map { try load($0) } ?? (nil, nil)
            if new.directory != old?.directory {
                add(new.directory)
                for file in oldDirectory?.files ?? [] { seenFiles.insert(file.digest) }
                order.append(contentsOf: (directory?.files ?? []).map(\.digest))
            }
            if let digest = new.attributes, digest != old?.attributes { add(digest) }
            guard let directory else { continue }
            for (index, child) in directory.directories.enumerated().reversed() {
                let position = oldDirectory?.directoryIndex(child.name)
                stack.append(
                    (
                        Pair(
                            directory: child.digest,
                            attributes: attributes?.directories[index].digest),
                        position.flatMap { position in
                            oldDirectory.map {
                                Pair(
                                    directory: $0.directories[position].digest,
                                    attributes: oldAttributes?.directories[position].digest)
                            }
                        }
                    ))
            }
        }
        for digest in order where digest != .empty && seenFiles.insert(digest).inserted {
            files.append(digest)
        }
    }

    private mutating func add(_ message: Digest) {
        if seenMessages.insert(message).inserted { messages.append(message) }
    }

    private func load(_ pair: Pair) throws -> (Directory?, AttributesDirectory?) {
        guard let directory = try source.directory(pair.directory) else {
            throw PlanBuilder.incomplete(pair.directory)
        }
        guard let digest = pair.attributes else { return (directory, nil) }
        guard let attributes = try source.attributes(digest), attributes.matches(directory) else {
            throw PlanBuilder.incomplete(digest)
        }
        return (directory, attributes)
    }

    /// The units of some blobs in the order of packs; throws where one is not here.
    static func units(
        _ digests: [Digest], reader: any CatalogReader, domain: Domain
    ) throws -> (
        units: [FetchPlan.Unit], chunks: [(digest: Digest, location: BlobLocation)],
        rawBytes: UInt64
    ) {
        var units: [FetchPlan.Unit] = []
        var chunks: [(digest: Digest, location: BlobLocation)] = []
        var rawBytes: UInt64 = 0
        let places = try reader.locations(of: digests, domain: domain)
        for (digest, place) in zip(digests, places) {
            guard let place else { throw incomplete(digest) }
            guard place.kind == .chunkList else {
                rawBytes += UInt64(place.rawLength)
                units.append(
                    FetchPlan.Unit(
                        digest: digest, first: place, chunks: 0..<0,
                        storedBytes: place.recordBytes))
                continue
            }
            guard let list = try reader.chunkList(of: digest, domain: domain) else {
                throw incomplete(digest)
            }
            let start = chunks.count
            var stored = place.recordBytes
            let names = list.chunks
            for (chunk, place) in zip(names, try reader.locations(of: names, domain: domain)) {
                guard let place else { throw incomplete(chunk) }
                chunks.append((chunk, place))
                stored += place.recordBytes
            }
            rawBytes += list.size
            units.append(
                FetchPlan.Unit(
                    digest: digest, first: place, chunks: start..<chunks.count,
                    storedBytes: stored))
        }
        // A list lies in a metadata pack; what counts for reading is where its chunks lie.
        units.sort { left, right in
            BlobLocation.precedes(
                left.chunks.isEmpty ? left.first : chunks[left.chunks.lowerBound].location,
                right.chunks.isEmpty ? right.first : chunks[right.chunks.lowerBound].location)
        }
        return (units, chunks, rawBytes)
    }
}
