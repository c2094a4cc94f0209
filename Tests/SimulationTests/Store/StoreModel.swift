import CASCore
import CASPack
import CASRepository
import CASTestSupport
import CASTree

/// What a simulation knows to be true of its store, whatever the store says.
struct StoreModel {
    /// A move of a ref, or its removal, that a client asked for.
    struct Move {
        enum State: Equatable {
            /// Nobody knows yet, or nobody ever will: its answer never came.
            case open
            /// Acknowledged; with `moved` it stands in the history.
            case done(moved: Bool)
            /// Answered with no, so that it must not have happened.
            case refused
        }
        /// Stands in its provenance.
        let marker: String
        let ref: RefName
        let target: Digest?
        let pushID: Identifier?
        /// Steps of the simulation between which it was decided, if it was.
        let begun: Int
        /// Whether it gives the ref an end.
        let expires: Bool
        /// The time of day at which it was asked for, and acknowledged.
        let begunAt: Int64
        var endedAt = Int64.max
        var ended = Int.max
        var sequence: UInt64?
        var state = State.open
    }

    /// What is known of a pin.
    enum Pin {
        case set(Timestamp?)
        case ended
    }

    private(set) var moves: [String: Move] = [:]
    /// Pins that anybody asked for; nil where the answer never came.
    var pins: [Digest: Pin?] = [:]
    /// What was removed for good as far as the store ever said.
    var purged: Set<Digest> = []
    /// What somebody asked to remove for good, and trees of it.
    var purgeTargets: Set<Digest> = []
    /// All trees that clients ever made, by the digest of their snapshot.
    private(set) var trees: [Digest: SampleTree] = [:]
    /// The same in the order in which they were made.
    private(set) var snapshots: [Digest] = []
    /// Everything that may ever be in the store.
    private(set) var universe = BlobUniverse()
    /// What is known of image options.
    var options = OptionModel()
    /// What is known of images.
    var images = ImageModel()

    mutating func add(_ tree: SampleTree, _ records: SampleRecords, limits: Limits) throws {
        guard trees.updateValue(tree, forKey: tree.digest) == nil else { return }
        snapshots.append(tree.digest)
        try universe.add(tree, records, limits: limits)
    }

    /// A blob of an image, and how it is cut.
    mutating func add(blob bytes: [UInt8], pieces: [[UInt8]]) {
        images.add(blob: bytes, chunks: pieces)
        universe.add(bytes, pieces)
    }

    mutating func add(
        manifest bytes: [UInt8], _ manifest: ImageModel.Manifest, to name: String, isTagged: Bool
    ) {
        images.add(manifest: bytes, manifest, to: name, isTagged: isTagged)
        universe.add(bytes, [bytes])
    }

    mutating func begin(
        _ ref: RefName, _ target: Digest?, _ pushID: Identifier?, expires: Bool, step: Int,
        at seconds: Int64
    ) -> String {
        let marker = "move-\(moves.count)"
        moves[marker] = Move(
            marker: marker, ref: ref, target: target, pushID: pushID, begun: step,
            expires: expires, begunAt: seconds)
        return marker
    }

    mutating func end(
        _ marker: String, _ state: Move.State, sequence: UInt64? = nil, step: Int,
        at seconds: Int64
    ) {
        moves[marker]?.state = state
        moves[marker]?.sequence = sequence
        moves[marker]?.ended = step
        moves[marker]?.endedAt = seconds
    }

    /// Names that anybody ever asked to move.
    var refs: [RefName] { Set(moves.values.map(\.ref)).sorted() }
}

/// Everything that a simulation's clients may have stored, and what belongs to what.
struct BlobUniverse {
    /// A directory with the attributes of what is in it.
    struct Pair {
        let directory: Digest
        let attributes: Digest
        let children: [Digest]
    }
    /// Bytes of messages, files and chunks.
    private(set) var contents: [Digest: [UInt8]] = [:]
    /// Digests of all of them, in the order in which they came up.
    private(set) var digests: [Digest] = []
    /// Chunks of large files.
    private(set) var chunks: [Digest: [Digest]] = [:]
    /// Files that are in one piece.
    private(set) var plainFiles: Set<Digest> = []
    private(set) var directories: [Digest: Directory] = [:]
    /// By the key under which the catalog records that both are complete.
    private(set) var pairs: [Digest: Pair] = [:]

    fileprivate mutating func add(
        _ tree: SampleTree, _ records: SampleRecords, limits: Limits
    ) throws {
        for message in tree.messages {
            insert(message.digest, message.bytes)
            if message.kind == .directory {
                directories[message.digest] = try message.bytes.withUnsafeBytes {
                    try Directory(decodingCanonical: $0, limits: limits)
                }
            }
        }
        for (digest, content) in tree.files.sorted(by: { $0.key < $1.key })
        where digest != .empty {
            insert(digest, content)
            guard records.isChunked(content) else {
                plainFiles.insert(digest)
                continue
            }
            let pieces = records.pieces(content).map { Array($0) }
            for piece in pieces { insert(Digest.of(piece), piece) }
            chunks[digest] = pieces.map { Digest.of($0) }
        }
        guard let attributes = tree.snapshot.attributes?.digest else { return }
        _ = try addPair(tree.snapshot.tree.digest, attributes, limits)
    }

    fileprivate mutating func add(_ blob: [UInt8], _ pieces: [[UInt8]]) {
        guard !blob.isEmpty else { return }
        insert(Digest.of(blob), blob)
        guard pieces.count > 1 else { return }
        for piece in pieces { insert(Digest.of(piece), piece) }
        chunks[Digest.of(blob)] = pieces.map { Digest.of($0) }
    }

    private mutating func insert(_ digest: Digest, _ bytes: [UInt8]) {
        if contents.updateValue(bytes, forKey: digest) == nil { digests.append(digest) }
    }

    private mutating func addPair(
        _ directory: Digest, _ attributes: Digest, _ limits: Limits
    ) throws -> Digest {
        let key = Digest.of(directory.bytes + attributes.bytes)
        if pairs[key] != nil { return key }
        let decoded = try AttributesDirectory(
            decoding: contents[attributes] ?? [], limits: limits)
        var children: [Digest] = []
        for (child, below) in zip(directories[directory]?.directories ?? [], decoded.directories) {
            children.append(try addPair(child.digest, below.digest, limits))
        }
        pairs[key] = Pair(directory: directory, attributes: attributes, children: children)
        return key
    }

    /// Everything that a snapshot needs to be whole, itself too.
    func members(_ tree: SampleTree) -> [Digest] {
        let files = tree.files.keys.filter { $0 != .empty }
        return tree.messages.map(\.digest) + files + files.flatMap { chunks[$0] ?? [] }
    }
}
