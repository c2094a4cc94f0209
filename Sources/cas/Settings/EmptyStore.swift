import CASChunking
import CASClient
import CASCore
import CASRepository
import CASWire

/// A store that holds nothing and takes nothing: what a dry run compares with where there is no store
/// yet, since a dry run makes none.
struct EmptyStore: StoreConnection {
    let location: String
    var isLocal: Bool { true }

    func describe() throws -> StoreDescription {
        let limits = Limits.standard
        return StoreDescription(
            softwareVersion: Software.version, incarnation: Identifier(high: 0, low: 0),
            chunkerAverageBytes: UInt64(ChunkerParameters.standard.averageBytes),
            chunkerSeed: UInt64(ChunkerParameters.standard.seed),
            requestBytes: UInt64(limits.requestBytes), unaskedBytes: UInt64(limits.unaskedBytes),
            now: Timestamp(seconds: 0), scopes: [.all])
    }

    func missing(_ digests: [Digest], push: Identifier) throws -> [Bool] {
        digests.map { _ in true }
    }

    func upload(push: Identifier, stream: Int, sequence: Int, records: ReusableBuffer) throws {
        throw absent
    }

    func commit(_ request: PushRequest, records: ReusableBuffer) throws -> PushResponse {
        throw absent
    }

    func checkQuota(_ request: QuotaRequest, push: Identifier) throws {}
    func abandon(push: Identifier) throws {}
    func plan(_ request: PlanRequest) throws -> PlanResponse { throw absent }

    func layers(_ request: LayersRequest) throws -> LayersResponse { throw absent }

    func readTree(plan: String, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        throw absent
    }

    func readData(
        plan: String, share: Int, of count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws { throw absent }

    func readBlobs(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws { throw absent }

    func readChunkLists(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws { throw absent }

    func ref(_ name: RefName) throws -> RefEntry? { nil }
    func refs(prefix: String, after: String, limit: Int) throws -> RefPage { RefPage(entries: []) }

    func history(_ name: RefName, before: String, limit: Int) throws -> HistoryPage {
        HistoryPage(entries: [])
    }

    func images(of ref: RefName, derives: Bool) throws -> RefImages { throw absent }
    func images(of digest: Digest, name: String) throws -> RefImages { throw absent }
    func setRef(_ name: RefName, _ update: RefUpdate) throws -> RefEntry { throw absent }
    func removeRef(_ name: RefName, _ update: RefUpdate) throws { throw absent }
    func usage() throws -> UsageReport { throw absent }

    func pins(prefix: String, after: String, limit: Int) throws -> PinPage {
        PinPage(entries: [])
    }

    func pin(_ digest: Digest, name: String, _ request: PinRequest) throws -> PinRecord {
        throw absent
    }

    func unpin(_ digest: Digest, name: String, _ request: PinRequest) throws { throw absent }
    func rules() throws -> [RetentionRule] { [] }
    func set(rule: RetentionRule) throws -> RetentionRule { throw absent }
    func remove(rule: RetentionRule) throws { throw absent }
    func createToken(_ request: TokenRequest) throws -> TokenResponse { throw absent }
    func tokens() throws -> [TokenRecord] { [] }
    func revokeToken(_ identifier: Identifier) throws { throw absent }
    func maintain(_ request: MaintenanceRequest) throws -> MaintenanceState { throw absent }
    func maintenance(_ id: Identifier, seconds: Int) throws -> MaintenanceState { throw absent }
    func close() throws {}

    private var absent: CASError {
        CASError(.notFound, "there is no store", hint: "cas push creates one", path: location)
    }
}
