import CASCore
import CASHTTP
import CASOCI
import CASRepository
import CASWire
import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// Blobs: whole, in ranges, or as the frames in which they are stored.
extension RegistryDoor {
    func blob(
        _ name: String, _ digest: OCIDigest, _ request: Request, _ context: Context,
        _ notes: inout RequestNotes
    ) async throws -> Response {
        let reader = try await shared.blocking { [self] in try self.reader(name, digest) }
        guard let reader else { throw Refusal.unknownBlob(digest) }
        let tag = "\"\(digest)\""
        var headers: HTTPFields = [
            // Some clients fail where there is no type.
            .contentType: MediaType.octetStream, .acceptRanges: "bytes", .eTag: tag,
            .vary: "Accept-Encoding",
        ]
        headers.set("Docker-Content-Digest", digest.description)
        if RegistryDoor.matches(request.headers[.ifNoneMatch], tag) {
            return Response(status: .notModified, headers: headers)
        }
        notes.isStreamed = true
        if let header = request.headers[.range], request.method == .get,
            request.headers[.ifRange].map({ $0 == tag }) ?? true
        {
            switch ByteRanges(header, size: reader.size) {
            case .ranges(let ranges): return part(reader, ranges, headers, context)
            case .unsatisfiable:
                var refusal = Refusal(.rangeInvalid, "the blob has \(reader.size) bytes")
                refusal.headers[.contentRange] = ContentRange.unsatisfied(size: reader.size)
                notes.isStreamed = false
                throw refusal
            case .tooMany:
                // Clients of partial pulls ask for fewer after a 400, and give up after anything else.
                throw Refusal(
                    .unsupported,
                    "at most \(ByteRanges.maximumCount) ranges can be asked for at once, and "
                        + "not much more than the blob has", status: 400)
            case .malformed: break
            }
        } else if request.method == .get, RegistryDoor.acceptsFrames(request),
            let frames = try await shared.blocking({ try reader.frames() })
        {
            headers[.contentEncoding] = "zstd"
            // Other bytes than those that the strong tag stands for.
            headers[.eTag] = "W/\(tag)"
            headers[.acceptRanges] = nil
            return Response(
                status: .ok, headers: headers, body: body("oci-blobs", context, nil) { frames })
        }
        return Response(
            status: .ok, headers: headers,
            body: body("oci-blobs", context, reader.size) { try reader.pieces(0..<reader.size) })
    }

    private func reader(_ name: String, _ digest: OCIDigest) throws -> OCIBlobReader? {
        guard let digest = try resolve(digest),
            try repository.link(name, digest, domain: domain) != nil
        else { return nil }
        return try repository.blobReader(digest, domain: domain)
    }

    func deleteBlob(
        _ name: String, _ digest: OCIDigest, _ caller: RegistryCaller
    ) async throws -> Response {
        let isThere = try await shared.blocking { [self] in
            guard let known = try resolve(digest) else { return false }
            let isEnded =
                try repository.unlink(
                    name, known, kind: .blob, provenance(caller), domain: domain) != nil
            guard try isEnded || !isDerived(name, known, .blob) else {
                throw RegistryDoor.notDeletable(digest)
            }
            return isEnded
        }
        guard isThere else { throw Refusal.unknownBlob(digest) }
        return Response(status: .accepted)
    }

    /// One range, or several in the order in which they were asked for (RFC 9110, 14.6).
    private func part(
        _ reader: OCIBlobReader, _ ranges: [Range<UInt64>], _ headers: HTTPFields,
        _ context: Context
    ) -> Response {
        var headers = headers
        if ranges.count == 1 {
            let range = ranges[0]
            headers[.contentRange] = ContentRange(range, size: reader.size).description
            return Response(
                status: .partialContent, headers: headers,
                body: body("oci-blobs", context, UInt64(range.count)) { try reader.pieces(range) })
        }
        let multipart = MultipartRanges(
            ranges, size: reader.size, mediaType: MediaType.octetStream,
            boundary: "cas-\(Identifier.random())")
        headers[.contentType] = multipart.contentType
        return Response(
            status: .partialContent, headers: headers,
            body: body("oci-blobs", context, multipart.contentLength) {
                MultipartSource(reader, multipart)
            })
    }

    /// A body of pieces that are read as they are sent.
    func body(
        _ door: String, _ context: Context, _ count: UInt64?,
        _ open: @escaping @Sendable () throws -> any PieceSource
    ) -> ResponseBody {
        ResponseBody(contentLength: count.map { Int(clamping: $0) }) { [shared] writer in
            let source = try await shared.blocking(open)
            try await shared.sendAll(door, context) { wanted in
                var piece = AnswerPiece.empty
                while piece.count < wanted {
                    guard try source.next({ piece.append($0) }) else {
                        piece.isLast = true
                        break
                    }
                }
                return piece
            }
            try await writer.finish(nil)
        }
    }

    /// Whether a request names the encoding in which chunks are stored.
    private static func acceptsFrames(_ request: Request) -> Bool {
        for field in request.headers[values: .acceptEncoding] {
            for item in field.split(separator: ",") {
                let parts = item.split(separator: ";").map {
                    $0.filter { $0 != " " && $0 != "\t" }.lowercased()
                }
                guard parts.first == "zstd" else { continue }
                let weight = parts.dropFirst().first { $0.hasPrefix("q=") }?.dropFirst(2)
                return weight.map { (Double($0) ?? 0) > 0 } ?? true
            }
        }
        return false
    }

    /// Whether an If-None-Match names a tag (RFC 9110, 13.1.2: compared weakly).
    static func matches(_ header: String?, _ tag: String) -> Bool {
        guard let header else { return false }
        return header.split(separator: ",").contains { item in
            let text = item.drop { $0 == " " }
            let bare = text.hasPrefix("W/") ? text.dropFirst(2) : text
            let trimmed = bare.prefix { $0 != " " }
            return trimmed == "*" || trimmed == tag
        }
    }
}

/// Parts of a blob with what stands between them.
private final class MultipartSource: PieceSource {
    private let reader: OCIBlobReader
    private let frame: MultipartRanges
    private let state = Mutex(State())

    private struct State {
        var index = 0
        var source: (any PieceSource)?
        var isDone = false
    }

    init(_ reader: OCIBlobReader, _ frame: MultipartRanges) {
        self.reader = reader
        self.frame = frame
    }

    func next(_ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Bool {
        try state.withLock { state in
            if let source = state.source {
                if try source.next(body) { return true }
                state.source = nil
                state.index += 1
            }
            guard state.index < frame.ranges.count else {
                guard !state.isDone else { return false }
                state.isDone = true
                try frame.trailer.withUnsafeBytes(body)
                return true
            }
            state.source = try reader.pieces(frame.ranges[state.index])
            try frame.header(state.index).withUnsafeBytes(body)
            return true
        }
    }
}
