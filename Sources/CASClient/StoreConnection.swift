package import CASCore
import CASFileSystem
package import CASWire

/// A store, as push and fetch use it: in this process or behind a server.
///
/// All methods block; any thread may call them.
package protocol StoreConnection: Sendable {
    /// Where the store is, for messages and as the name under which a client remembers it.
    var location: String { get }
    /// Whether the store lies on this machine and nothing is sent anywhere.
    var isLocal: Bool { get }

    /// What the store says of itself and of the caller's rights.
    func describe() throws -> StoreDescription
    /// Which of these digests the store lacks, in the order asked.
    func missing(_ digests: [Digest], push: Identifier) throws -> [Bool]
    /// Uploads whole records; a body whose number the stream has seen has no effect.
    func upload(push: Identifier, stream: Int, sequence: Int, records: ReusableBuffer) throws
    /// Moves a ref, with the last records of the push along.
    func commit(_ request: PushRequest, records: ReusableBuffer) throws -> PushResponse
    /// Asks whether a push of that size may become what a ref names; throws `resourceExhausted` with
    /// the figures where it is beyond a quota.
    func checkQuota(_ request: QuotaRequest, push: Identifier) throws
    /// Forgets a push in progress.
    func abandon(push: Identifier) throws

    /// Plans a fetch.
    func plan(_ request: PlanRequest) throws -> PlanResponse
    /// The layers of a snapshot, made by the store and linked in a repository of its images if one is named.
    func layers(_ request: LayersRequest) throws -> LayersResponse
    /// Streams the messages of a plan to `sink`, in arbitrary pieces of records.
    func readTree(plan: String, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws
    /// Streams one share of a plan's files.
    func readData(
        plan: String, share: Int, of count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws
    /// Streams these blobs.
    func readBlobs(_ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void) throws
    /// Blobs in the order in which it is best to ask for them.
    func readingOrder(_ digests: [Digest]) -> [Digest]
    /// The same as `readBlobs`, with chunk lists alone where there are some; for a store that `givesChunkLists`.
    func readChunkLists(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws

    /// What a ref names; nil if there is no such ref.
    func ref(_ name: RefName) throws -> RefEntry?
    /// What a ref names once that is not the move `after` (0: no such ref) any more, or after about so
    /// many seconds whatever it names then.
    func awaitRef(_ name: RefName, after: UInt64, seconds: Int) throws -> RefEntry?
    /// Refs whose name begins with a prefix; `after` is the `next` of the page before.
    func refs(prefix: String, after: String, limit: Int) throws -> RefPage
    /// Moves of a ref, newest first; `before` is the `next` of the page before.
    func history(_ name: RefName, before: String, limit: Int) throws -> HistoryPage
    /// What belongs to a ref besides its snapshot: images; with `derives`, the image that its snapshot is is made.
    ///
    /// For a store that `takesImages`.
    func images(of ref: RefName, derives: Bool) throws -> RefImages
    /// What belongs to a manifest of a name; throws `notFound`.
    func images(of digest: Digest, name: String) throws -> RefImages
    /// Moves a ref without transferring anything.
    func setRef(_ name: RefName, _ update: RefUpdate) throws -> RefEntry
    /// Removes a ref.
    func removeRef(_ name: RefName, _ update: RefUpdate) throws
    /// What the store holds.
    func usage() throws -> UsageReport

    /// Pins that the caller may know of; `after` is the `next` of the page before.
    func pins(prefix: String, after: String, limit: Int) throws -> PinPage
    /// Keeps a snapshot, or that of a tree, whatever refs name; an empty name is none.
    func pin(_ digest: Digest, name: String, _ request: PinRequest) throws -> PinRecord
    /// Ends a pin; throws `notFound`.
    func unpin(_ digest: Digest, name: String, _ request: PinRequest) throws
    /// All rules, by pattern.
    func rules() throws -> [RetentionRule]
    /// Sets a rule over that of the same pattern.
    func set(rule: RetentionRule) throws -> RetentionRule
    /// Removes the rule of a pattern; throws `notFound`.
    func remove(rule: RetentionRule) throws

    /// Makes a token.
    func createToken(_ request: TokenRequest) throws -> TokenResponse
    /// All tokens.
    func tokens() throws -> [TokenRecord]
    /// Ends a token.
    func revokeToken(_ identifier: Identifier) throws

    /// Starts long work on the store, unless it was started under this identifier; how far it is.
    func maintain(_ request: MaintenanceRequest) throws -> MaintenanceState
    /// How far such work is, once it ended or after about so many seconds.
    func maintenance(_ id: Identifier, seconds: Int) throws -> MaintenanceState

    /// Ends the use of the connection.
    func close() throws
}

extension StoreConnection {
    private static var pollMilliseconds: UInt64 { 200 }

    /// Sorted, so that the store may answer in the order of its packs whatever is asked.
    package func readingOrder(_ digests: [Digest]) -> [Digest] { digests.sorted() }

    /// Looks again and again.
    package func awaitRef(_ name: RefName, after: UInt64, seconds: Int) throws -> RefEntry? {
        let clock = SystemClock()
        let end = clock.monotonicNanoseconds() + UInt64(max(0, seconds)) * 1_000_000_000
        while true {
            let entry = try ref(name)
            guard (entry?.sequence ?? 0) == after, clock.monotonicNanoseconds() < end else {
                return entry
            }
            Sleep.milliseconds(Self.pollMilliseconds)
        }
    }
}
