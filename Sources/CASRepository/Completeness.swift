import CASCatalog
import CASCore
import CASPack
import CASTree

/// Finds out whether a snapshot is here whole, and records what it found to be.
///
/// The presence of a Directory says nothing of its members: each is looked up, down to directories that
/// a transaction before this one found whole. Attributes are walked along; a state under the key of a
/// directory and its attributes says that those below are here too and belong to each other.
struct Completeness {
    /// What is not here.
    struct Missing {
        var digests: [Digest] = []
        var count: UInt64 = 0
        let limit: Int
        fileprivate var seen: Set<Digest> = []

        init(limit: Int) { self.limit = limit }

        fileprivate mutating func add(_ digest: Digest) {
            guard seen.insert(digest).inserted else { return }
            count += 1
            if digests.count < limit { digests.append(digest) }
        }
    }

    private struct Pair: Hashable {
        let directory: Digest
        let attributes: Digest?

        /// Under which it is recorded that both are whole; nil without attributes.
        var key: Digest? {
            attributes.map { Completeness.key(directory, $0) }
        }
    }

    /// Under which it is recorded that a directory and these attributes of it are whole.
    static func key(_ directory: Digest, _ attributes: Digest) -> Digest {
        Digest.of(directory.bytes + attributes.bytes)
    }

    /// What is remembered of a directory while those below it are looked at: names, which may be very
    /// long, are not.
    private struct Level {
        let pair: Pair
        let children: [Digest]
        let attributes: [Digest]?
        let totals: TreeTotals
        var next = 0
        var isWhole: Bool
    }
    /// Directories within directories on the way to the one that is looked at.
    private static let openEntries = 4_000_000

    private let transaction: any CatalogTransaction
    private let records: RecordReader
    private let domain: Domain
    private let limits: Limits
    private var missing: Missing
    private var stack: [Level] = []
    private var openCount = 0
    private var visited: Set<Pair> = []
    private var known: [Digest: TreeState] = [:]
    private var found: [(Digest, TreeState)] = []
    /// What was found to be here: nothing of it may be condemned once a tree of it counts as complete.
    private var present: [Digest] = []
    /// Whether a record proved damaged: what is known of other trees may then be wrong.
    private var isDamaged = false

    init(_ context: CommitContext, domain: Domain, limits: Limits) {
        self.init(context.transaction, context.records, domain: domain, limits: limits)
    }

    init(
        _ transaction: any CatalogTransaction, _ records: RecordReader, domain: Domain,
        limits: Limits
    ) {
        self.transaction = transaction
        self.records = records
        self.domain = domain
        self.limits = limits
        missing = Missing(limit: limits.missingPerAnswer)
    }

    /// The snapshot, and what of it is missing; with nothing missing it is recorded as complete.
    ///
    /// Throws `dataLoss` where a message is not what it should be and `resourceExhausted` beyond limits.
    mutating func check(_ digest: Digest) throws -> (snapshot: Snapshot?, missing: Missing) {
        guard let location = try transaction.location(of: digest, domain: domain) else {
            missing.add(digest)
            return (nil, missing)
        }
        guard let content = try payload(digest, location) else { return (nil, missing) }
        let snapshot = try Snapshot(decoding: content)
        present.append(digest)
        if try transaction.completeSnapshot(digest, domain: domain) {
            try transaction.addBarrier(digest, domain: domain)
            return (snapshot, missing)
        }
        try walk(Pair(directory: snapshot.tree.digest, attributes: snapshot.attributes?.digest))
        if missing.count == 0 {
            // What a collection was about to take comes back whole, in the transaction that says so.
            try transaction.revive(present, domain: domain)
            try transaction.addBarrier(digest, domain: domain)
            if !isDamaged { try transaction.insert(treeStates: found, domain: domain) }
            let totals = try state(snapshot.tree.digest)?.totals
            guard totals == snapshot.totals else {
                throw CASError(
                    .invalidArgument, "a snapshot says other totals than its tree has",
                    digest: digest)
            }
            try transaction.insert(
                completeSnapshots: [
                    CompleteSnapshot(
                        snapshot: digest, tree: snapshot.tree.digest,
                        attributes: snapshot.attributes?.digest)
                ], domain: domain)
        }
        return (snapshot, missing)
    }

    /// What of a tree is missing, whatever attributes it has; with nothing missing it is recorded as complete.
    mutating func check(tree: Digest) throws -> Missing {
        try walk(Pair(directory: tree, attributes: nil))
        guard missing.count == 0 else { return missing }
        try transaction.revive(present, domain: domain)
        if !isDamaged { try transaction.insert(treeStates: found, domain: domain) }
        return missing
    }

    /// The payload of a record; nil, with the record noted as missing, if the store's copy is damaged.
    private mutating func payload(
        _ digest: Digest, _ location: BlobLocation
    ) throws -> UnsafeRawBufferPointer? {
        do {
            return try records.payload(digest, location)
        } catch let error as CASError where error.code == .dataLoss {
            isDamaged = true
            missing.add(digest)
            return nil
        }
    }

    private mutating func walk(_ root: Pair) throws {
        try enter(root)
        while let top = stack.last {
            if top.next < top.children.count {
                stack[stack.count - 1].next += 1
                try enter(
                    Pair(
                        directory: top.children[top.next],
                        attributes: top.attributes?[top.next]))
            } else {
                stack.removeLast()
                try leave(top)
            }
        }
    }

    /// The state of a directory or attributes message, if it is complete.
    private mutating func state(_ digest: Digest) throws -> TreeState? {
        if let state = known[digest] { return state }
        guard let state = try transaction.treeState(of: digest, domain: domain) else { return nil }
        known[digest] = state
        return state
    }

    private mutating func enter(_ pair: Pair) throws {
        guard visited.insert(pair).inserted else { return }
        var isWhole = try state(pair.directory) != nil
        let hasAttributes = try pair.key.map { try state($0) != nil } ?? true
        if isWhole, hasAttributes { return }
        guard stack.count < limits.treeDepth else {
            throw CASError(
                .resourceExhausted, "a tree is deeper than \(limits.treeDepth) directories")
        }
        var messages = [pair.directory]
        if let attributes = pair.attributes { messages.append(attributes) }
        let locations = try transaction.locations(of: messages, domain: domain)
        for (digest, location) in zip(messages, locations) where location == nil {
            missing.add(digest)
        }
        for (digest, location) in zip(messages, locations) where location != nil {
            present.append(digest)
        }
        guard let place = locations[0] else { return }
        guard let content = try payload(pair.directory, place) else { return }
        let directory = try Directory(decodingCanonical: content, limits: limits)
        var attributes: AttributesDirectory?
        if let digest = pair.attributes, let place = locations[1],
            let content = try payload(digest, place)
        {
            let decoded = try AttributesDirectory(decoding: content, limits: limits)
            guard decoded.matches(directory) else {
                throw CASError(.dataLoss, "attributes do not match their directory", digest: digest)
            }
            attributes = decoded
        }
        if !isWhole { isWhole = try hasFiles(directory) }
        openCount += directory.directories.count
        guard openCount <= Completeness.openEntries else {
            throw CASError(.resourceExhausted, "a tree has too many directories within directories")
        }
        stack.append(
            Level(
                pair: pair, children: directory.directories.map(\.digest),
                attributes: attributes?.directories.map(\.digest), totals: directory.ownTotals,
                isWhole: isWhole))
    }

    /// Whether all files of a directory are here, with the sizes that it says.
    private mutating func hasFiles(_ directory: Directory) throws -> Bool {
        guard !directory.files.isEmpty else { return true }
        let digests = directory.files.map(\.digest)
        let locations = try transaction.locations(of: digests, domain: domain)
        var isWhole = true
        for (file, location) in zip(directory.files, locations) {
            if file.size == 0, file.digest == .empty { continue }
            guard let location else {
                missing.add(file.digest)
                isWhole = false
                continue
            }
            present.append(file.digest)
            let size: UInt64?
            if location.kind == .chunkList {
                size = try sizeOfList(file.digest)
                if size == nil { isWhole = false }
            } else {
                size = UInt64(location.rawLength)
            }
            guard let size, size != file.size else { continue }
            throw CASError(
                .invalidArgument,
                "'\(file.name)' has \(size) bytes where its directory says \(file.size)",
                digest: file.digest)
        }
        return isWhole
    }

    /// Bytes of a chunked blob; nil, with the blob noted as missing, if one of its chunks is.
    private mutating func sizeOfList(_ digest: Digest) throws -> UInt64? {
        guard let list = try transaction.chunkList(of: digest, domain: domain) else {
            missing.add(digest)
            return nil
        }
        let chunks = try transaction.locations(of: list.chunks, domain: domain)
        guard !chunks.contains(where: { $0 == nil }) else {
            // A list without its chunks is worth nothing: while it is here, whoever asks about the blob
            // would be told that it is not missing, and never send the chunks.
            try transaction.remove(locations: [digest], domain: domain)
            try transaction.remove(chunkLists: [digest], domain: domain)
            missing.add(digest)
            return nil
        }
        present += list.chunks
        return list.size
    }

    private mutating func leave(_ level: Level) throws {
        openCount -= level.children.count
        var totals = level.totals
        var depth: UInt32 = 0
        var isWhole = level.isWhole
        for child in level.children {
            guard let below = try state(child) else {
                isWhole = false
                break
            }
            totals.add(below.totals)
            depth = max(depth, below.depth)
        }
        try totals.check(limits)
        guard Int(depth) < limits.treeDepth else {
            throw CASError(
                .resourceExhausted, "a tree is deeper than \(limits.treeDepth) directories")
        }
        let state = TreeState(totals: totals, depth: depth + 1)
        if isWhole, known[level.pair.directory] == nil { add(level.pair.directory, state) }
        guard let key = level.pair.key, let attributes = level.attributes else { return }
        for child in zip(level.children, attributes) {
            let below = Pair(directory: child.0, attributes: child.1).key
            if try below.map({ try self.state($0) == nil }) ?? true { return }
        }
        if known[key] == nil { add(key, state) }
    }

    private mutating func add(_ digest: Digest, _ state: TreeState) {
        known[digest] = state
        found.append((digest, state))
    }
}
