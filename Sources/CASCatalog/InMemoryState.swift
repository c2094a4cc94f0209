import CASCore
import CASPack
import CASWire

/// Everything an in-memory catalog holds; a value, so that a view of it never changes.
struct InMemoryState: Sendable {
    /// A ref of one domain.
    struct RefKey: Hashable, Comparable, Sendable {
        var domain: Domain
        var name: RefName

        static func < (left: RefKey, right: RefKey) -> Bool {
            (left.domain.rawValue, left.name) < (right.domain.rawValue, right.name)
        }
    }

    /// A pin of one domain.
    struct PinKey: Hashable, Sendable {
        var domain: Domain
        var name: String
        var digest: Digest
    }

    /// A rule of one domain.
    struct RuleKey: Hashable, Sendable {
        var domain: Domain
        var pattern: String
    }

    /// A push of one domain.
    struct PushKey: Hashable, Sendable {
        var domain: Domain
        var identifier: Identifier
    }

    /// What it leaves out on purpose, see `InMemoryCatalog.Neglect`.
    var neglects: Set<InMemoryCatalog.Neglect> = []
    var settings: [String: [UInt8]] = [:]
    var sequence: UInt64 = 0
    var nextPack: Int64 = 1
    var packs: [Int64: PackEntry] = [:]
    var locations: [Digest: BlobLocation] = [:]
    var chunkLists: [Digest: ChunkList] = [:]
    var treeStates: [Digest: TreeState] = [:]
    /// In the order recorded.
    var snapshots: [CompleteSnapshot] = []
    /// Keys of states and snapshots that were forgotten with all others, and not recorded anew since.
    var forgottenTrees: Set<Digest> = []
    var forgottenSnapshots: Set<Digest> = []
    var refs: [RefKey: RefEntry] = [:]
    /// By ascending sequence.
    var histories: [RefKey: [HistoryEntry]] = [:]
    var pushes: [PushKey: PushResponse] = [:]
    var tokens: [Identifier: TokenRecord] = [:]
    var leases: [Identifier: Lease] = [:]
    var generation: UInt64 = 1
    var condemned: [Digest: UInt64] = [:]
    var barrier: Set<Digest> = []
    var touches: [Digest: Touch] = [:]
    var pins: [PinKey: PinRecord] = [:]
    var rules: [RuleKey: RetentionRule] = [:]
    var purges: [Digest: String] = [:]
    var purging: Set<Digest> = []
    var arrivals: Set<Digest> = []
    var doomed: [Identifier: Bool] = [:]
    var measures: [Digest: SnapshotMeasure] = [:]
    var images = Images()
}
