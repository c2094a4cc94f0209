import CASCore
import CASWire

/// What a simulation knows to be true of the images in its store, whatever the store says.
struct ImageModel {
    /// A link as the catalog has it.
    struct LinkKey: Hashable, Comparable {
        let name: String
        let digest: Digest
        let kind: OCILink.Kind

        static func < (left: LinkKey, right: LinkKey) -> Bool {
            (left.name, left.kind.rawValue, left.digest)
                < (right.name, right.kind.rawValue, right.digest)
        }
    }

    /// A link that somebody made, relied on or ended.
    struct Change {
        enum State {
            /// Nobody knows yet, or nobody ever will: its answer never came.
            case open
            case done
            /// Answered with no, so that it must not have happened.
            case refused
        }
        enum Kind {
            case put, putAsRoot, removal
        }
        let kind: Kind
        /// Between these it happened, if it did.
        let begun: Int
        var ended = Int.max
        /// The time of day at which the link was relied on last.
        var used = Int64.min
        var state = State.open
    }

    /// A change that was begun.
    struct ChangeID {
        let key: LinkKey
        let index: Int
    }

    /// A manifest that somebody put.
    struct Manifest {
        /// What it names: configuration and layers, or manifests.
        let parts: [Digest]
        let isIndex: Bool
        /// The manifest that it is about.
        let subject: Digest?
        /// Whether snapshots can be on top of it.
        var isBase = false
    }

    /// An image that a snapshot was answered to be.
    struct Derived {
        /// What it is a function of.
        struct Key: Hashable, Comparable {
            let tree: Digest
            let options: String

            static func < (left: Key, right: Key) -> Bool {
                (left.tree, left.options) < (right.tree, right.options)
            }
        }
        let key: Key
        let ref: RefName
        let manifest: Digest
        /// Configuration and layers, those of the image below first.
        let blobs: [Digest]
        /// The image below.
        var base: LinkKey?
        /// Layers of that one.
        var inherited: [Digest] = []
        /// Whether something kept it ever since.
        var isKept = true

        var tree: Digest { key.tree }
    }

    private(set) var changes: [LinkKey: [Change]] = [:]
    /// Links that nothing kept when somebody collected: nobody knows of them.
    private var forgotten: [LinkKey: Int] = [:]
    private(set) var ticks = 0
    /// Bytes of all blobs and manifests that anybody ever sent, or was answered.
    private(set) var contents: [Digest: [UInt8]] = [:]
    /// Blobs that anybody ever sent, in the order in which they came up.
    private(set) var blobs: [Digest] = []
    /// How these are cut.
    private(set) var chunks: [Digest: [Digest]] = [:]
    private(set) var manifests: [Digest: Manifest] = [:]
    var derived: [Derived.Key: Derived] = [:]
    /// What somebody pushed, or tried to push, under a SHA-512, with that.
    private(set) var sums: [Digest: [UInt8]] = [:]
    /// Those of which that was acknowledged, and that something kept ever since.
    private(set) var aliased: Set<Digest> = []
    /// Ends of manifests with all their tags that anybody asked for, by the author that they give.
    private(set) var unlinks: [String: (key: LinkKey, change: ChangeID)] = [:]
    /// Manifests that something else in their name held at some time, perhaps: they need not stay by themselves.
    private(set) var held: Set<LinkKey> = []
    /// How many times uploads were lost with the catalog.
    var rebuilds = 0

    // MARK: - Content

    mutating func add(blob bytes: [UInt8], chunks pieces: [[UInt8]]) {
        let digest = Digest.of(bytes)
        guard contents.updateValue(bytes, forKey: digest) == nil else { return }
        blobs.append(digest)
        chunks[digest] = pieces.map { Digest.of($0) }
    }

    mutating func add(
        manifest bytes: [UInt8], _ manifest: Manifest, to name: String, isTagged: Bool
    ) {
        let digest = Digest.of(bytes)
        contents[digest] = bytes
        manifests[digest] = manifest
        let parts = manifest.isIndex ? manifest.parts : []
        for digest in parts + (isTagged || manifest.subject != nil ? [digest] : []) {
            held.insert(LinkKey(name: name, digest: digest, kind: .manifest))
        }
    }

    mutating func add(derived image: Derived, _ bytes: [Digest: [UInt8]]) {
        derived[image.key] = image
        contents.merge(bytes) { old, _ in old }
    }

    /// Images that snapshots were answered to be, in their order.
    var derivedImages: [Derived] { derived.sorted { $0.key < $1.key }.map(\.value) }

    /// An image that a snapshot was answered to be; some are the same for several options.
    func derived(_ manifest: Digest) -> Derived? {
        derivedImages.first { $0.manifest == manifest }
    }

    mutating func tryAlias(_ sum: [UInt8], _ digest: Digest) { sums[digest] = sum }

    mutating func alias(_ digest: Digest) { aliased.insert(digest) }

    /// Forgets names of what nothing kept while somebody collected.
    mutating func keepAliases(of kept: Set<Digest>) { aliased.formIntersection(kept) }

    // MARK: - Links

    mutating func begin(_ kind: Change.Kind, _ key: LinkKey) -> ChangeID {
        ticks += 1
        changes[key, default: []].append(Change(kind: kind, begun: ticks))
        return ChangeID(key: key, index: (changes[key]?.count ?? 1) - 1)
    }

    mutating func end(_ change: ChangeID, _ state: Change.State, used: Int64 = .min) {
        ticks += 1
        changes[change.key]?[change.index].ended = ticks
        changes[change.key]?[change.index].state = state
        changes[change.key]?[change.index].used = used
    }

    mutating func beginUnlink(_ key: LinkKey) -> (author: String, change: ChangeID) {
        let change = begin(.removal, key)
        let author = "unlink-\(unlinks.count)"
        unlinks[author] = (key, change)
        return (author, change)
    }

    /// What became of an end of a manifest; nil if there was none of that author.
    func state(ofUnlink author: String) -> (key: LinkKey, state: Change.State)? {
        guard let known = unlinks[author], let all = changes[known.key] else { return nil }
        return (known.key, all[known.change.index].state)
    }

    /// All links that anybody ever made, in their order.
    var links: [LinkKey] { changes.keys.sorted() }

    /// Puts that were acknowledged and that nothing can have undone.
    func lasting(_ key: LinkKey) -> [Change] {
        guard let all = changes[key] else { return [] }
        let oldest = forgotten[key] ?? -1
        return all.filter { put in
            guard put.kind != .removal, put.state == .done, put.begun > oldest else { return false }
            return !all.contains { mayUndo($0, put, all) }
        }
    }

    /// Whether a removal may have come after a put.
    ///
    /// One that nobody heard of may come to light in a rebuild, behind a put that had nothing to change and so
    /// left no record; only after one that was acknowledged a put changes something.
    private func mayUndo(_ removal: Change, _ put: Change, _ all: [Change]) -> Bool {
        guard removal.kind == .removal, removal.state != .refused else { return false }
        if removal.ended > put.begun { return true }
        guard removal.state == .open else { return false }
        return !all.contains { other in
            other.kind == .removal && other.state == .done && other.begun > removal.ended
                && other.ended < put.begun
        }
    }

    /// Whether a link was ended for sure, and nothing can have brought it back.
    func isGone(_ key: LinkKey) -> Bool {
        guard let all = changes[key] else { return true }
        return all.contains { removal in
            guard removal.kind == .removal, removal.state == .done else { return false }
            return !all.contains { put in
                put.kind != .removal && put.state != .refused && put.ended > removal.begun
            }
        }
    }

    /// Whether anybody may have made a link.
    func wasAskedFor(_ key: LinkKey) -> Bool {
        changes[key]?.contains { $0.kind != .removal && $0.state != .refused } ?? false
    }

    /// Whether nobody knows of some put of a link whether it happened.
    func hasOpenPut(_ key: LinkKey) -> Bool {
        changes[key]?.contains { $0.kind != .removal && $0.state == .open } ?? false
    }

    /// Whether nobody knows of some end of a link whether it happened.
    func hasOpenRemoval(_ key: LinkKey) -> Bool {
        changes[key]?.contains { $0.kind == .removal && $0.state == .open } ?? false
    }

    /// How many changes of a link were asked for.
    func changeCount(_ key: LinkKey) -> Int { changes[key]?.count ?? 0 }

    /// Takes note that a link was there at some moment after a tick.
    mutating func found(_ key: LinkKey, since tick: Int, used: Int64) {
        ticks += 1
        changes[key, default: []].append(
            Change(kind: .put, begun: tick, ended: ticks, used: used, state: .done))
    }

    /// Takes note that nothing kept a link while somebody collected.
    mutating func forget(_ key: LinkKey) { forgotten[key] = ticks }
}
