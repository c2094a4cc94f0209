import CASClient
import CASCore
import CASPack
import CASWire

/// A store that answers with something else than what another one holds.
final class HostileStore: StoreConnection {
    /// A record of its own, as a store would send it.
    struct Record {
        var kind: RecordKind
        var digest: Digest
        /// Header, payload and trailer.
        var bytes: [UInt8]

        init(_ view: RecordView) {
            kind = view.header.kind
            digest = view.header.digest
            bytes = Array(view.record)
        }

        /// A record of raw bytes under a digest.
        init(_ kind: RecordKind, _ digest: Digest, _ payload: [UInt8]) {
            self.kind = kind
            self.digest = digest
            let buffer = ReusableBuffer(capacity: 1024)
            RecordCoding.append(kind: kind, digest: digest, payload: payload, to: buffer)
            bytes = Array(buffer.bytes)
        }
    }

    private let base: any StoreConnection
    private let changePlan: @Sendable (inout PlanResponse) -> Void
    private let changeTree: @Sendable ([Record]) -> [Record]
    private let changeData: @Sendable ([Record]) -> [Record]

    init(
        _ base: any StoreConnection,
        plan: @escaping @Sendable (inout PlanResponse) -> Void = { _ in },
        tree: @escaping @Sendable ([Record]) -> [Record] = { $0 },
        data: @escaping @Sendable ([Record]) -> [Record] = { $0 }
    ) {
        self.base = base
        changePlan = plan
        changeTree = tree
        changeData = data
    }

    private func send(
        _ change: ([Record]) -> [Record], _ sink: (UnsafeRawBufferPointer) throws -> Void,
        _ read: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
        var records: [Record] = []
        var decoder = RecordStreamDecoder()
        try read { bytes in try decoder.push(bytes) { records.append(Record($0)) } }
        try decoder.finish()
        for record in change(records) { try record.bytes.withUnsafeBytes { try sink($0) } }
    }

    func plan(_ request: PlanRequest) throws -> PlanResponse {
        var response = try base.plan(request)
        changePlan(&response)
        return response
    }
    func layers(_ request: LayersRequest) throws -> LayersResponse { try base.layers(request) }
    func readTree(plan: String, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        try send(changeTree, sink) { try base.readTree(plan: plan, $0) }
    }
    func readData(
        plan: String, share: Int, of count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try send(changeData, sink) {
            try base.readData(plan: plan, share: share, of: count, $0)
        }
    }
    func readBlobs(_ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        try send(changeData, sink) { try base.readBlobs(digests, $0) }
    }
    func readChunkLists(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try send(changeData, sink) { try base.readChunkLists(digests, $0) }
    }

    // MARK: - What it leaves as it is

    var location: String { base.location }
    var isLocal: Bool { base.isLocal }
    func describe() throws -> StoreDescription { try base.describe() }
    func missing(_ digests: [Digest], push: Identifier) throws -> [Bool] {
        try base.missing(digests, push: push)
    }
    func upload(push: Identifier, stream: Int, sequence: Int, records: ReusableBuffer) throws {
        try base.upload(push: push, stream: stream, sequence: sequence, records: records)
    }
    func commit(_ request: PushRequest, records: ReusableBuffer) throws -> PushResponse {
        try base.commit(request, records: records)
    }
    func abandon(push: Identifier) throws { try base.abandon(push: push) }
    func ref(_ name: RefName) throws -> RefEntry? { try base.ref(name) }
    func refs(prefix: String, after: String, limit: Int) throws -> RefPage {
        try base.refs(prefix: prefix, after: after, limit: limit)
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
