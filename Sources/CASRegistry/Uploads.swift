import CASCore
import CASHTTP
import CASOCI
import CASRepository
import CASWire
import HTTPTypes
import Hummingbird
import Logging

/// Uploads: begun, streamed or in parts, and closed with the digest.
extension RegistryDoor {
    /// POST: a mount, a whole blob, or a place to send one to.
    func beginUpload(
        _ name: String, _ query: RegistryQuery, _ caller: RegistryCaller, _ request: Request,
        _ context: Context, _ notes: inout RequestNotes
    ) async throws -> Response {
        if let algorithm = query["digest-algorithm"] {
            guard OCIDigest.Algorithm(rawValue: algorithm) != nil else {
                throw Refusal(
                    .digestInvalid,
                    "digests by '\(Refusal.shown(algorithm))' are not supported",
                    detail: "use sha256, or sha512")
            }
        }
        let whole = try query["digest"].map { try RegistryRoute.digest($0) }
        if let text = query["mount"] {
            let digest = try RegistryRoute.digest(text)
            let source = query["from"]
            let mount = try await shared.blocking { [self] in
                try self.mount(digest, from: source, to: name, caller)
            }
            switch mount {
            case .done: return RegistryDoor.created(name, digest)
            case .lacksScope(let other):
                let scopes = [
                    RegistryScope(name: name, actions: [.pull, .push]),
                    RegistryScope(name: other, actions: [.pull]),
                ]
                throw challenge(request).refusal(
                    "the token was not issued for '\(other)', which has the blob", scopes,
                    isScopeMissing: true)
            case .impossible: break
            }
        }
        let upload = try await newUpload(name)
        let hasBody = RegistryDoor.hasBody(request)
        // Without a body only nothing can be whole; who sends none else means to send it later.
        guard let whole, query["mount"] == nil, hasBody || whole.names([]) else {
            return RegistryDoor.uploadAnswer(name, upload, 0, status: .accepted)
        }
        do {
            let writer =
                hasBody
                ? try await receive(
                    name, upload, at: nil, request, context, &notes, isWhole: true) : nil
            return try await close(name, upload, whole, writer)
        } catch {
            // Nobody knows its name, so that nobody could go on with it.
            await forget(name, upload, context)
            throw error
        }
    }

    /// Cancels an upload after an error, which is the one that is told.
    private func forget(_ name: String, _ upload: Identifier, _ context: Context) async {
        do {
            _ = try await shared.blocking { [repository, domain] in
                try repository.cancelUpload(name, upload, domain: domain)
            }
        } catch {
            context.logger.warning(
                "an upload stays until it expires", metadata: ["cause": "\(error)"])
        }
    }

    private func newUpload(_ name: String) async throws -> Identifier {
        do {
            return try await shared.blocking { [repository, domain] in
                try repository.beginUpload(name, domain: domain)
            }
        } catch let error as CASError where error.code == .resourceExhausted && error.path == nil {
            var refusal = Refusal(.tooManyRequests, error.message, detail: error.hint)
            refusal.headers[.retryAfter] = "60"
            throw refusal
        }
    }

    /// What became of a mount.
    private enum Mount: Sendable {
        case done
        /// Only a repository has it that the token behind the bearer may read, and the bearer not.
        case lacksScope(String)
        case impossible
    }

    /// Links a blob of another repository: of the one that is named, else of any that the caller may read.
    private func mount(
        _ digest: OCIDigest, from source: String?, to name: String, _ caller: RegistryCaller
    ) throws -> Mount {
        guard let digest = try resolve(digest) else { return .impossible }
        if try repository.link(name, digest, kind: .blob, domain: domain) != nil { return .done }
        if let source, RefName.isName(source), caller.allows(.pull, source),
            try repository.mount(digest, from: source, to: name, domain: domain)
        {
            return .done
        }
        let names = try repository.linkedAnywhere(
            digest, limit: shared.limits.listingEntries, domain: domain)
        for other in names where caller.allows(.pull, other) {
            if try repository.mount(digest, from: other, to: name, domain: domain) { return .done }
        }
        guard let source else {
            return names.first { caller.lacks(.pull, $0) }.map { .lacksScope($0) } ?? .impossible
        }
        // Who named a source is asked for a token for that one, never for another that has the blob too.
        guard RefName.isName(source), caller.lacks(.pull, source),
            try repository.link(source, digest, kind: .blob, domain: domain) != nil
        else { return .impossible }
        return .lacksScope(source)
    }

    /// PATCH: more bytes, with a range that says where they belong or without.
    func uploadPart(
        _ name: String, _ upload: Identifier, _ request: Request, _ context: Context,
        _ notes: inout RequestNotes
    ) async throws -> Response {
        let writer = try await receive(
            name, upload, at: try RegistryDoor.contentRange(request), request, context, &notes)
        let size = try await shared.blocking { try writer.checkpoint() }
        return RegistryDoor.uploadAnswer(name, upload, size, status: .accepted)
    }

    /// PUT: the last bytes, if any, and the digest of all.
    func finishUpload(
        _ name: String, _ upload: Identifier, _ query: RegistryQuery, _ request: Request,
        _ context: Context, _ notes: inout RequestNotes
    ) async throws -> Response {
        guard let text = query["digest"] else {
            throw Refusal(
                .digestInvalid, "an upload is closed with the digest of the blob",
                detail: "PUT …?digest=sha256:…")
        }
        let digest = try RegistryRoute.digest(text)
        let range = try RegistryDoor.contentRange(request)
        let writer =
            RegistryDoor.hasBody(request) || range != nil
            ? try await receive(name, upload, at: range, request, context, &notes) : nil
        return try await close(name, upload, digest, writer)
    }

    /// Makes a blob of an upload, with what a writer got of it if there is one.
    private func close(
        _ name: String, _ upload: Identifier, _ digest: OCIDigest, _ writer: UploadWriter?
    ) async throws -> Response {
        let expected: ExpectedDigest =
            switch digest {
            case .sha256(let digest): .sha256(digest)
            case .sha512(let bytes): .sha512(bytes)
            }
        do {
            _ = try await shared.blocking { [repository, domain] in
                try writer?.finish(expecting: expected)
                    ?? repository.finishUpload(name, upload, expecting: expected, domain: domain)
            }
        } catch let error as CASError where error.code == .invalidArgument {
            throw Refusal(.digestInvalid, error.message, detail: error.hint)
        }
        return RegistryDoor.created(name, digest)
    }

    func uploadSize(_ name: String, _ upload: Identifier) async throws -> UInt64? {
        try await shared.blocking { [repository, domain] in
            try repository.uploadStatus(name, upload, domain: domain)
        }
    }

    /// Takes the body of a request into an upload; returns what has it, to be made durable.
    ///
    /// What came is kept where the sender is too slow or goes away, so that it can go on; with `isWhole`
    /// the sender can not, and nothing is.
    private func receive(
        _ name: String, _ upload: Identifier, at range: Range<UInt64>?, _ request: Request,
        _ context: Context, _ notes: inout RequestNotes, isWhole: Bool = false
    ) async throws -> UploadWriter {
        let declared = request.headers[.contentLength].flatMap { UInt64($0) }
        let wanted = range.map { $0.upperBound - $0.lowerBound }
        if let declared, let wanted, declared != wanted {
            throw Refusal(
                .sizeInvalid, "the body has \(declared) bytes and its range says \(wanted)")
        }
        if max(declared ?? 0, range?.upperBound ?? 0) > shared.limits.imageBlobBytes {
            throw Refusal(
                .sizeInvalid,
                "a blob may have at most \(ByteCount.text(shared.limits.imageBlobBytes))",
                status: 413)
        }
        let writer = try await self.writer(name, upload, at: range?.lowerBound)
        context.askForBody(request)
        let body = UploadBody(shared, writer, expected: wanted ?? declared)
        do {
            try await body.receive(request, context)
        } catch {
            notes.received = Int(clamping: body.count)
            if error is SlowBody { context.closeSoon() }
            let isLost = (error as? CASError)?.code == .cancelled
            try await shared.blocking {
                guard !isWhole, error is SlowBody || isLost else { return writer.abandon() }
                do {
                    try body.writeRest()
                    _ = try writer.checkpoint()
                } catch {
                    writer.abandon()
                    throw error
                }
            }
            throw error
        }
        notes.received = Int(clamping: body.count)
        return writer
    }

    private func writer(
        _ name: String, _ upload: Identifier, at offset: UInt64?
    ) async throws -> UploadWriter {
        do {
            return try await shared.blocking { [repository, domain] in
                try repository.append(name, upload, at: offset, domain: domain)
            }
        } catch let error as CASError where error.code == .outOfRange {
            var refusal = Refusal(.rangeInvalid, error.message, detail: error.hint)
            if let size = try await uploadSize(name, upload) {
                refusal.headers =
                    RegistryDoor.uploadAnswer(name, upload, size, status: .accepted)
                    .headers
                refusal.headers[.contentLength] = nil
            }
            throw refusal
        }
    }

    /// Where the body belongs, as its Content-Range says; nil without one, throws for one that is none.
    private static func contentRange(_ request: Request) throws -> Range<UInt64>? {
        guard let header = request.headers[.contentRange] else { return nil }
        guard let range = ContentRange(header)?.range else {
            throw Refusal(
                .rangeInvalid, "'\(Refusal.shown(header))' is not a range of bytes",
                detail: "write first-last: 0-1023")
        }
        return range
    }

    /// Whether anything is sent along.
    private static func hasBody(_ request: Request) -> Bool {
        if let length = request.headers[.contentLength] { return length != "0" }
        return request.headers.contains(.transferEncoding)
    }

    /// The state of an upload, as clients go on from.
    static func uploadAnswer(
        _ name: String, _ upload: Identifier, _ size: UInt64, status: HTTPResponse.Status
    ) -> Response {
        var response = Response(
            status: status, headers: [.location: "/v2/\(name)/blobs/uploads/\(upload)"])
        // Docker reads "0-N", without a unit.
        response.headers[.range] = ContentRange.received(size)
        response.headers.set("Docker-Upload-UUID", upload.description)
        return response
    }

    /// A blob that is there now.
    static func created(_ name: String, _ digest: OCIDigest) -> Response {
        var response = Response(
            status: .created, headers: [.location: "/v2/\(name)/blobs/\(digest)"])
        response.setDigest(digest)
        return response
    }
}
