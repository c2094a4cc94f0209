package import CASCore
import CASPack
package import CASWire
import NIOCore
import NIOHTTP1

/// The calls of the native protocol (Protocol.md).
extension RemoteStore {
    /// How often it is asked for what a server is making: each time waits for most of a minute, as long as a proxy
    /// lets it.
    private static let patience = 1_000

    /// Percent encoding (RFC 3986, 2.3) of what people type.
    private static func escape(_ text: String) -> String {
        var output = ""
        for byte in text.utf8 {
            let scalar = Unicode.Scalar(byte)
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", "-", ".", "_", "~", "/", ":":
                output.unicodeScalars.append(scalar)
            default: output += "%" + Hexadecimal.encode([byte])
            }
        }
        return output
    }

    private func message<Message: WireMessage>(
        _ method: HTTPMethod, _ path: String, body: [UInt8]? = nil, accepts: Set<UInt> = []
    ) throws -> Message {
        guard let answer = try send(method, path, body: body, accepts: accepts) else {
            throw CASError(.internalError, "an answer without a body")
        }
        do {
            return try Message(decoding: answer)
        } catch {
            throw CASError(
                .failedPrecondition, "\(location) does not answer as a cas server does",
                hint: "is the address right?", cause: error)
        }
    }

    package func describe() throws -> StoreDescription { try message(.GET, "/v1") }

    package func missing(_ digests: [Digest], push: Identifier) throws -> [Bool] {
        guard !digests.isEmpty else { return [] }
        let answer: MissingResponse = try message(
            .POST, "/v1/push/\(push)/missing", body: DigestList(digests: digests).encode())
        guard answer.missing.count == digests.count else {
            throw CASError(.dataLoss, "the server answered about other digests than it was asked")
        }
        return answer.missing
    }

    package func upload(
        push: Identifier, stream: Int, sequence: Int, records: ReusableBuffer
    ) throws {
        _ = try send(
            .PUT, "/v1/push/\(push)/streams/\(stream)/\(sequence)",
            body: ByteBuffer(bytes: records.bytes), type: WireProtocol.recordsMediaType)
    }

    package func commit(_ request: PushRequest, records: ReusableBuffer) throws -> PushResponse {
        let body = ReusableBuffer(capacity: records.count + 1024)
        RecordCoding.append(
            kind: .pushRequest, digest: .zero, payload: request.encode(), to: body)
        body.append(records.bytes)
        let ref = request.ref.description
        guard
            let answer = try send(
                .POST, "/v1/push/\(request.pushID)?ref=\(ref)", body: ByteBuffer(bytes: body.bytes),
                type: WireProtocol.recordsMediaType, accepts: [409])
        else { throw CASError(.internalError, "an answer without a body") }
        if let response = try? PushResponse(decoding: answer) { return response }
        throw try WireError(decoding: answer).error
    }

    package func checkQuota(_ request: QuotaRequest, push: Identifier) throws {
        _ = try send(.POST, "/v1/push/\(push)/quota", body: request.encode())
    }

    package func abandon(push: Identifier) throws { _ = try send(.DELETE, "/v1/push/\(push)") }

    package func plan(_ request: PlanRequest) throws -> PlanResponse {
        try message(.POST, "/v1/plan", body: request.encode())
    }

    package func layers(_ request: LayersRequest) throws -> LayersResponse {
        for _ in 0..<RemoteStore.patience {
            let answer: LayersResponse = try message(.POST, "/v1/layers", body: request.encode())
            if answer != .unfinished { return answer }
        }
        throw CASError(.unavailable, "\(location) does not come to an end with the layers")
    }

    package func readTree(
        plan: String, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try stream(
            .GET, "/v1/plan/\(plan)/tree", body: nil, type: "", failsEarly: true, sink)
    }

    package func readData(
        plan: String, share: Int, of count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try stream(
            .GET, "/v1/plan/\(plan)/data/\(share)/\(count)", body: nil, type: "", failsEarly: true,
            sink)
    }

    package func readBlobs(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try stream(
            .POST, "/v1/blobs", body: ByteBuffer(bytes: DigestList(digests: digests).encode()),
            type: WireProtocol.messageMediaType, failsEarly: true, sink)
    }

    package func readChunkLists(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try stream(
            .POST, "/v1/blobs?lists=1",
            body: ByteBuffer(bytes: DigestList(digests: digests).encode()),
            type: WireProtocol.messageMediaType, failsEarly: true, sink)
    }

    package func ref(_ name: RefName) throws -> RefEntry? {
        guard
            let answer = try send(
                .GET, "/v1/refs/\(name.name)?tag=\(name.tag)", isAbsenceAllowed: true)
        else { return nil }
        return try RefEntry(decoding: answer)
    }

    package func awaitRef(_ name: RefName, after: UInt64, seconds: Int) throws -> RefEntry? {
        guard
            let answer = try send(
                .GET, "/v1/refs/\(name.name)?tag=\(name.tag)&after=\(after)&wait=\(seconds)",
                isAbsenceAllowed: true)
        else { return nil }
        return try RefEntry(decoding: answer)
    }

    package func refs(prefix: String, after: String, limit: Int) throws -> RefPage {
        try message(
            .GET,
            "/v1/refs?prefix=\(RemoteStore.escape(prefix))&after=\(RemoteStore.escape(after))"
                + "&limit=\(limit)")
    }

    package func history(_ name: RefName, before: String, limit: Int) throws -> HistoryPage {
        try message(
            .GET,
            "/v1/history/\(name.name)?tag=\(name.tag)&before=\(RemoteStore.escape(before))"
                + "&limit=\(limit)")
    }

    package func images(of ref: RefName, derives: Bool) throws -> RefImages {
        let path = "/v1/images/\(ref.name)?tag=\(ref.tag)" + (derives ? "&derive=1" : "")
        for _ in 0..<RemoteStore.patience {
            let answer: RefImages = try message(.GET, path)
            if !answer.isUnfinished { return answer }
        }
        throw CASError(.unavailable, "\(location) does not come to an end with the image")
    }

    package func images(of digest: Digest, name: String) throws -> RefImages {
        try message(.GET, "/v1/images/\(name)?digest=\(digest.hexadecimal)")
    }

    package func setRef(_ name: RefName, _ update: RefUpdate) throws -> RefEntry {
        try message(.PUT, "/v1/refs/\(name.name)?tag=\(name.tag)", body: update.encode())
    }

    package func removeRef(_ name: RefName, _ update: RefUpdate) throws {
        _ = try send(.DELETE, "/v1/refs/\(name.name)?tag=\(name.tag)", body: update.encode())
    }

    package func usage() throws -> UsageReport { try message(.GET, "/v1/usage") }

    package func pins(prefix: String, after: String, limit: Int) throws -> PinPage {
        try message(
            .GET,
            "/v1/pins?prefix=\(RemoteStore.escape(prefix))&after=\(RemoteStore.escape(after))"
                + "&limit=\(limit)")
    }

    package func pin(
        _ digest: Digest, name: String, _ request: PinRequest
    ) throws -> PinRecord {
        try message(.PUT, RemoteStore.pinPath(digest, name), body: request.encode())
    }

    package func unpin(_ digest: Digest, name: String, _ request: PinRequest) throws {
        _ = try send(.DELETE, RemoteStore.pinPath(digest, name), body: request.encode())
    }

    private static func pinPath(_ digest: Digest, _ name: String) -> String {
        "/v1/pins/\(digest.hexadecimal)" + (name.isEmpty ? "" : "?name=\(name)")
    }

    package func rules() throws -> [RetentionRule] {
        let page: RulePage = try message(.GET, "/v1/rules")
        return page.entries
    }

    package func set(rule: RetentionRule) throws -> RetentionRule {
        try message(.PUT, "/v1/rules", body: rule.encode())
    }

    package func remove(rule: RetentionRule) throws {
        _ = try send(
            .DELETE, "/v1/rules?pattern=\(RemoteStore.escape(rule.pattern))", body: rule.encode())
    }

    package func maintain(_ request: MaintenanceRequest) throws -> MaintenanceState {
        try message(.POST, "/v1/maintenance", body: request.encode())
    }

    package func maintenance(_ id: Identifier, seconds: Int) throws -> MaintenanceState {
        try message(.GET, "/v1/maintenance/\(id)?wait=\(seconds)")
    }

    package func createToken(_ request: TokenRequest) throws -> TokenResponse {
        try message(.POST, "/v1/tokens", body: request.encode())
    }

    package func tokens() throws -> [TokenRecord] {
        let page: TokenPage = try message(.GET, "/v1/tokens")
        return page.entries
    }

    package func revokeToken(_ identifier: Identifier) throws {
        _ = try send(.DELETE, "/v1/tokens/\(identifier)")
    }
}
