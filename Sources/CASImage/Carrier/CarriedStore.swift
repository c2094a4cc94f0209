import CASClient
package import CASCore
import CASPack
import CASTree
package import CASWire
import CASWorkspace

/// What an image carries, as a store that is only read.
extension CarriedSnapshot: StoreConnection {
    private static let planID = "carried"
    /// Above this a file may be in several chunks; which ones are, their lists say.
    private static let averageBytes: UInt64 = 16 << 10
    /// Connections to a registry that are worth while.
    private static let shares = 4

    package var location: String { "oci://\(registry.text)" }
    package var isLocal: Bool { false }

    private var readOnly: CASError {
        CASError(.unimplemented, "an image in a registry is only read, and by fetch and copy alone")
    }

    package func describe() throws -> StoreDescription {
        var description = StoreDescription(
            softwareVersion: "", incarnation: Identifier(high: 0, low: 0),
            chunkerAverageBytes: CarriedSnapshot.averageBytes, chunkerSeed: 0,
            requestBytes: UInt64(limits.requestBytes), unaskedBytes: 0, now: Timestamp(seconds: 0),
            scopes: [])
        description.givesChunkLists = true
        return description
    }

    package func plan(_ request: PlanRequest) throws -> PlanResponse {
        PlanResponse(
            planID: CarriedSnapshot.planID, ref: nil, snapshot: digest,
            snapshotMessage: snapshot.encode(), haveAccepted: false,
            metadataBytes: UInt64(contents.byteCount),
            dataBytes: files.values.reduce(0) { $0 + $1.size },
            dataRawBytes: files.values.reduce(0) { $0 + $1.size }, files: UInt64(files.count),
            shares: CarriedSnapshot.shares)
    }

    package func readTree(
        plan: String, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try stream(messages.map(\.digest), sink)
    }

    package func readData(
        plan: String, share: Int, of count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let sorted = files.values.sorted(by: CarriedExtent.precedes)
        let total = sorted.reduce(0) { $0 + $1.size }
        let size = total / UInt64(max(1, count)) + 1
        var position: UInt64 = 0
        var layer: (number: Int, start: UInt64)?
        var wanted: [Digest] = []
        for file in sorted {
            if layer?.number != file.layer { layer = (file.layer, position) }
            // A compressed layer is read from its beginning, so by one alone.
            let place = layers[file.layer].isPlain ? position : layer?.start ?? position
            if place / size == UInt64(share) { wanted.append(file.digest) }
            position += file.size
        }
        try stream(wanted, isAll: true, sink)
    }

    package func readBlobs(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws { try stream(digests, sink) }

    package func readChunkLists(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws { try stream(digests, listsOnly: true, sink) }

    /// As they stand in the layers, so that whoever asks for some of them asks for a run of bytes.
    package func readingOrder(_ digests: [Digest]) -> [Digest] {
        let found = digests.compactMap { files[$0] }.sorted(by: CarriedExtent.precedes)
        return found.map(\.digest) + digests.filter { files[$0] == nil }
    }

    package func close() { spools?.close() }

    // MARK: - What is not there

    package func layers(_ request: LayersRequest) throws -> LayersResponse { throw readOnly }
    package func missing(_ digests: [Digest], push: Identifier) throws -> [Bool] { throw readOnly }
    package func upload(
        push: Identifier, stream: Int, sequence: Int, records: ReusableBuffer
    ) throws { throw readOnly }
    package func commit(_ request: PushRequest, records: ReusableBuffer) throws -> PushResponse {
        throw readOnly
    }
    package func checkQuota(_ request: QuotaRequest, push: Identifier) throws { throw readOnly }
    package func abandon(push: Identifier) throws {}
    package func ref(_ name: RefName) throws -> RefEntry? { throw readOnly }
    package func refs(prefix: String, after: String, limit: Int) throws -> RefPage {
        throw readOnly
    }
    package func history(_ name: RefName, before: String, limit: Int) throws -> HistoryPage {
        throw readOnly
    }
    package func images(of ref: RefName, derives: Bool) throws -> RefImages { throw readOnly }
    package func images(of digest: Digest, name: String) throws -> RefImages { throw readOnly }
    package func setRef(_ name: RefName, _ update: RefUpdate) throws -> RefEntry { throw readOnly }
    package func removeRef(_ name: RefName, _ update: RefUpdate) throws { throw readOnly }
    package func usage() throws -> UsageReport { throw readOnly }
    package func pins(prefix: String, after: String, limit: Int) throws -> PinPage {
        throw readOnly
    }
    package func pin(_ digest: Digest, name: String, _ request: PinRequest) throws -> PinRecord {
        throw readOnly
    }
    package func unpin(_ digest: Digest, name: String, _ request: PinRequest) throws {
        throw readOnly
    }
    package func rules() throws -> [RetentionRule] { throw readOnly }
    package func set(rule: RetentionRule) throws -> RetentionRule { throw readOnly }
    package func remove(rule: RetentionRule) throws { throw readOnly }
    package func createToken(_ request: TokenRequest) throws -> TokenResponse { throw readOnly }
    package func tokens() throws -> [TokenRecord] { throw readOnly }
    package func revokeToken(_ identifier: Identifier) throws { throw readOnly }
    package func maintain(_ request: MaintenanceRequest) throws -> MaintenanceState {
        throw readOnly
    }
    package func maintenance(_ id: Identifier, seconds: Int) throws -> MaintenanceState {
        throw readOnly
    }
}
