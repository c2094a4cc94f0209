import CASClient
import CASCore
import CASWire
import Synchronization

/// A store of which a test changes some answers and counts some calls.
final class DecoratedStore: StoreConnection {
    private let base: any StoreConnection
    private let blobReads = Atomic<Int>(0)
    private let uploads = Atomic<Int>(0)
    private let commits = Atomic<Int>(0)
    /// Runs after the next commit.
    let afterCommit = Mutex<(@Sendable () throws -> Void)?>(nil)
    private let readBytesCount = Atomic<Int>(0)
    /// Changes what the store says of itself.
    let onDescribe = Mutex<(@Sendable (inout StoreDescription) -> Void)?>(nil)
    /// Changes what `missing` answers.
    let onMissing = Mutex<(@Sendable ([Bool]) throws -> [Bool])?>(nil)
    /// Runs before a commit.
    let beforeCommit = Mutex<(@Sendable () throws -> Void)?>(nil)
    /// Changes what a plan is asked for.
    let onPlan = Mutex<(@Sendable (PlanRequest) -> PlanRequest)?>(nil)

    /// Runs before a ref is looked up.
    let onRef = Mutex<(@Sendable () throws -> Void)?>(nil)
    /// Runs before anything else is read.
    let onRead = Mutex<(@Sendable () throws -> Void)?>(nil)

    /// Runs before content is read.
    let onContent = Mutex<(@Sendable () throws -> Void)?>(nil)

    init(_ base: any StoreConnection) { self.base = base }

    /// How often single blobs were asked for.
    var blobReadCount: Int { blobReads.load(ordering: .relaxed) }

    /// How often something was committed.
    var commitCount: Int { commits.load(ordering: .relaxed) }

    /// Bytes of blobs and chunk lists that were read.
    var readBytes: Int { readBytesCount.load(ordering: .relaxed) }

    /// How many bodies were uploaded.
    var uploadCount: Int { uploads.load(ordering: .relaxed) }

    var location: String { base.location }
    var isLocal: Bool { base.isLocal }
    func describe() throws -> StoreDescription {
        var description = try base.describe()
        onDescribe.withLock { $0 }?(&description)
        return description
    }
    func missing(_ digests: [Digest], push: Identifier) throws -> [Bool] {
        let answer = try base.missing(digests, push: push)
        return try onMissing.withLock { try $0?(answer) } ?? answer
    }
    func upload(push: Identifier, stream: Int, sequence: Int, records: ReusableBuffer) throws {
        uploads.add(1, ordering: .relaxed)
        try base.upload(push: push, stream: stream, sequence: sequence, records: records)
    }
    func commit(_ request: PushRequest, records: ReusableBuffer) throws -> PushResponse {
        try beforeCommit.withLock { $0.take() }?()
        commits.add(1, ordering: .relaxed)
        let response = try base.commit(request, records: records)
        try afterCommit.withLock { $0.take() }?()
        return response
    }
    func abandon(push: Identifier) throws { try base.abandon(push: push) }
    func plan(_ request: PlanRequest) throws -> PlanResponse {
        try onRead.withLock { $0 }?()
        return try base.plan(onPlan.withLock { $0 }?(request) ?? request)
    }
    func layers(_ request: LayersRequest) throws -> LayersResponse { try base.layers(request) }
    func readTree(plan: String, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        try onRead.withLock { $0 }?()
        try base.readTree(plan: plan, sink)
    }
    func readData(
        plan: String, share: Int, of count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try onRead.withLock { $0 }?()
        try onContent.withLock { $0 }?()
        try base.readData(plan: plan, share: share, of: count, sink)
    }
    func readBlobs(_ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        blobReads.add(1, ordering: .relaxed)
        try onRead.withLock { $0 }?()
        try onContent.withLock { $0 }?()
        try base.readBlobs(digests) { bytes in
            readBytesCount.add(bytes.count, ordering: .relaxed)
            try sink(bytes)
        }
    }
    func readChunkLists(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try onRead.withLock { $0 }?()
        try base.readChunkLists(digests) { bytes in
            readBytesCount.add(bytes.count, ordering: .relaxed)
            try sink(bytes)
        }
    }
    func ref(_ name: RefName) throws -> RefEntry? {
        try onRef.withLock { $0 }?()
        return try base.ref(name)
    }
    func refs(prefix: String, after: String, limit: Int) throws -> RefPage {
        try onRead.withLock { $0 }?()
        return try base.refs(prefix: prefix, after: after, limit: limit)
    }
    func history(_ name: RefName, before: String, limit: Int) throws -> HistoryPage {
        try base.history(name, before: before, limit: limit)
    }
    func images(of ref: RefName, derives: Bool) throws -> RefImages {
        try base.images(of: ref, derives: derives)
    }
    func images(of digest: Digest, name: String) throws -> RefImages {
        try base.images(of: digest, name: name)
    }
    func setRef(_ name: RefName, _ update: RefUpdate) throws -> RefEntry {
        try base.setRef(name, update)
    }
    func removeRef(_ name: RefName, _ update: RefUpdate) throws {
        try base.removeRef(name, update)
    }
    func usage() throws -> UsageReport { try base.usage() }
    func createToken(_ request: TokenRequest) throws -> TokenResponse {
        try base.createToken(request)
    }
    func tokens() throws -> [TokenRecord] { try base.tokens() }
    func revokeToken(_ identifier: Identifier) throws { try base.revokeToken(identifier) }
    func checkQuota(_ request: QuotaRequest, push: Identifier) throws {
        try base.checkQuota(request, push: push)
    }
    func pins(prefix: String, after: String, limit: Int) throws -> PinPage {
        try base.pins(prefix: prefix, after: after, limit: limit)
    }
    func pin(_ digest: Digest, name: String, _ request: PinRequest) throws -> PinRecord {
        try base.pin(digest, name: name, request)
    }
    func unpin(_ digest: Digest, name: String, _ request: PinRequest) throws {
        try base.unpin(digest, name: name, request)
    }
    func rules() throws -> [RetentionRule] { try base.rules() }
    func set(rule: RetentionRule) throws -> RetentionRule { try base.set(rule: rule) }
    func remove(rule: RetentionRule) throws { try base.remove(rule: rule) }
    func maintain(_ request: MaintenanceRequest) throws -> MaintenanceState {
        try base.maintain(request)
    }
    func maintenance(_ id: Identifier, seconds: Int) throws -> MaintenanceState {
        try base.maintenance(id, seconds: seconds)
    }
    func close() throws { try base.close() }
}
