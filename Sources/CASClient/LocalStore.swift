package import CASCore
import CASFileSystem
package import CASRepository
package import CASWire

/// A store opened by this process.
package final class LocalStore: StoreConnection {
    /// Its directory.
    package let location: String
    package let repository: Repository
    private let domain = Domain.standard
    /// Whether this very process computed the digests of what it brings, from the bytes that it framed.
    private let isTrusted: Bool

    /// Opens the store in a directory; with `create`, makes one where there is none.
    ///
    /// Unless `isTrusted`, what is uploaded is checked as that of a server's clients.
    package init(directory: String, create: Bool, isTrusted: Bool = true) throws {
        location = directory
        self.isTrusted = isTrusted
        repository = try StoreLocation.open(directory: directory, create: create)
    }

    /// A connection to a repository that is open already.
    package init(repository: Repository, location: String) {
        self.repository = repository
        self.location = location
        isTrusted = true
    }

    package var isLocal: Bool { true }

    package func describe() throws -> StoreDescription {
        try repository.describe(scopes: [.all])
    }

    package func missing(_ digests: [Digest], push: Identifier) throws -> [Bool] {
        try repository.missing(digests, push: push, domain: domain)
    }

    package func upload(
        push: Identifier, stream: Int, sequence: Int, records: ReusableBuffer
    ) throws {
        try repository.upload(
            push: push, stream: stream, sequence: sequence, records: records.bytes,
            trusted: isTrusted,
            domain: domain)
    }

    package func commit(_ request: PushRequest, records: ReusableBuffer) throws -> PushResponse {
        try repository.commit(request, records: records.bytes, trusted: isTrusted, domain: domain)
    }

    package func checkQuota(_ request: QuotaRequest, push: Identifier) throws {
        try repository.checkQuota(request, domain: domain)
    }

    package func abandon(push: Identifier) throws { repository.abandon(push: push) }

    package func plan(_ request: PlanRequest) throws -> PlanResponse {
        try repository.plan(request, domain: domain)
    }

    package func layers(_ request: LayersRequest) throws -> LayersResponse {
        guard let answer = try repository.layers(request, domain: domain) else {
            throw CASError(.internalError, "layers were not made")
        }
        return answer
    }

    package func readTree(
        plan: String, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try stream(try repository.treeRecords(plan: plan, domain: domain), sink)
    }

    package func readData(
        plan: String, share: Int, of count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try stream(
            try repository.dataRecords(plan: plan, share: share, of: count, domain: domain), sink)
    }

    package func readBlobs(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try stream(try repository.blobRecords(digests, domain: domain), sink)
    }

    package func readChunkLists(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try stream(
            try repository.blobRecords(digests, listsOnly: true, domain: domain), sink)
    }

    private func stream(
        _ source: any RecordSource, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let buffer = ReusableBuffer(capacity: 1 << 20)
        while try source.next(into: buffer) { try sink(buffer.bytes) }
    }

    package func ref(_ name: RefName) throws -> RefEntry? {
        try repository.ref(name, domain: domain)
    }

    package func refs(prefix: String, after: String, limit: Int) throws -> RefPage {
        try repository.refPage(prefix: prefix, after: after, limit: limit, domain: domain)
    }

    package func history(_ name: RefName, before: String, limit: Int) throws -> HistoryPage {
        try repository.historyPage(name, before: before, limit: limit, domain: domain)
    }

    package func images(of ref: RefName, derives: Bool) throws -> RefImages {
        try repository.images(of: ref, derives: derives, domain: domain)
    }

    package func images(of digest: Digest, name: String) throws -> RefImages {
        try repository.images(of: digest, name: name, domain: domain)
    }

    package func setRef(_ name: RefName, _ update: RefUpdate) throws -> RefEntry {
        try repository.setRef(name, update, domain: domain)
    }

    package func removeRef(_ name: RefName, _ update: RefUpdate) throws {
        try repository.removeRef(name, update.precondition, update.provenance, domain: domain)
    }

    package func usage() throws -> UsageReport { try repository.usage(domain: domain) }

    package func pins(prefix: String, after: String, limit: Int) throws -> PinPage {
        try repository.pinPage(prefix: prefix, after: after, limit: limit, domain: domain) { _ in
            true
        }
    }

    package func pin(
        _ digest: Digest, name: String, _ request: PinRequest
    ) throws -> PinRecord {
        try repository.pin(digest, name: name, request, domain: domain)
    }

    package func unpin(_ digest: Digest, name: String, _ request: PinRequest) throws {
        try repository.unpin(digest, name: name, request.provenance, domain: domain)
    }

    package func rules() throws -> [RetentionRule] { try repository.rules(domain: domain) }

    package func set(rule: RetentionRule) throws -> RetentionRule {
        try repository.set(rule: rule, domain: domain)
    }

    package func remove(rule: RetentionRule) throws {
        try repository.remove(rule: rule.pattern, rule.provenance, domain: domain)
    }

    package func createToken(_ request: TokenRequest) throws -> TokenResponse {
        try repository.createToken(request)
    }

    package func tokens() throws -> [TokenRecord] { try repository.tokens() }

    package func revokeToken(_ identifier: Identifier) throws {
        try repository.revokeToken(identifier)
    }

    package func maintain(_ request: MaintenanceRequest) throws -> MaintenanceState {
        try repository.maintain(request, domain: domain)
    }

    package func maintenance(_ id: Identifier, seconds: Int) throws -> MaintenanceState {
        let clock = SystemClock()
        let end = clock.monotonicNanoseconds() + UInt64(max(0, seconds)) * 1_000_000_000
        while true {
            guard let found = repository.maintenance.find(id) else {
                throw CASError(.notFound, "nothing is known of this work")
            }
            guard !found.state.isDone, clock.monotonicNanoseconds() < end else {
                return found.state
            }
            Sleep.milliseconds(5)
        }
    }

    package func close() throws { try repository.close() }
}
