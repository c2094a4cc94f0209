import CASCore
import CASPack
import CASRepository
import CASWire
import HTTPTypes
import Hummingbird
import NIOCore

/// Answers that are streams.
extension Door {
    /// A stream of records.
    ///
    /// What goes wrong once it has begun becomes a `failure` record.
    func stream(_ door: String, _ source: any RecordSource, _ context: Context) -> Response {
        let body = ResponseBody { writer in
            while true {
                let piece: ByteBuffer? = try await blocking {
                    // Given back before the piece is sent: a slow reader costs the piece alone.
                    let buffer = buffers.take()
                    defer { buffers.give(buffer) }
                    do {
                        guard try source.next(into: buffer) else { return nil }
                    } catch {
                        buffer.removeAll()
                        let known =
                            error as? CASError ?? CASError(.internalError, "the server failed")
                        RecordCoding.append(
                            kind: .failure, digest: .zero, payload: WireError(known).encode(),
                            to: buffer)
                    }
                    return ByteBuffer(bytes: buffer.bytes)
                }
                guard let piece else { break }
                metrics.count(door: door, sent: piece.readableBytes)
                let isFailure = Door.isFailure(piece)
                try await writer.write(piece)
                try await context.settleWrites()
                if isFailure { break }
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: WireProtocol.recordsMediaType], body: body)
    }

    private static func isFailure(_ piece: ByteBuffer) -> Bool {
        piece.withUnsafeReadableBytes {
            $0.count > 5 && $0[5] == RecordKind.failure.rawValue
        }
    }

    /// The content of one blob, or a range of it (RFC 9110, 14: one range of bytes).
    func blob(
        _ digest: Digest, _ request: Request, _ context: Context
    ) async throws -> Response {
        guard let size = try await blocking({ try repository.size(of: digest, domain: domain) })
        else { throw CASError(.notFound, "the store has no such blob", digest: digest) }
        var headers: HTTPFields = [
            .contentType: "application/octet-stream", .acceptRanges: "bytes",
            .eTag: "\"\(digest.hexadecimal)\"",
        ]
        var range: Range<UInt64> = 0..<size
        var status = HTTPResponse.Status.ok
        if let header = request.headers[.range], let wanted = ByteRange.parse(header, size: size) {
            guard !wanted.isEmpty else {
                return Response(
                    status: .rangeNotSatisfiable, headers: [.contentRange: "bytes */\(size)"])
            }
            range = wanted
            status = .partialContent
            headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)"
        }
        let wanted = range
        let body = ResponseBody(contentLength: Int(clamping: wanted.upperBound - wanted.lowerBound))
        {
            writer in
            let cursor = try await blocking {
                try repository.blobCursor(digest, wanted, domain: domain)
            }
            while true {
                let piece = try await blocking {
                    var buffer = ByteBuffer()
                    return try cursor.next { buffer.writeBytes($0) } ? buffer : nil
                }
                guard let piece else { break }
                metrics.count(door: "blobs", sent: piece.readableBytes)
                try await writer.write(piece)
                try await context.settleWrites()
            }
            try await writer.finish(nil)
        }
        return Response(status: status, headers: headers, body: body)
    }
}

/// The `Range` header.
enum ByteRange {
    /// The one range that is asked for, cut to the size; empty if it lies behind the end; nil if the
    /// header is to be ignored.
    static func parse(_ header: String, size: UInt64) -> Range<UInt64>? {
        let text = header.split(separator: "=", maxSplits: 1)
        guard text.count == 2, text[0] == "bytes" else { return nil }
        let parts = text[1].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        // Swift's numbers would also take a sign.
        guard parts.count == 2, !text[1].contains("+") else { return nil }
        if parts[0].isEmpty {
            guard let count = UInt64(parts[1]) else { return nil }
            return size - min(size, count)..<size
        }
        guard let first = UInt64(parts[0]) else { return nil }
        guard first < size else { return 0..<0 }
        if parts[1].isEmpty { return first..<size }
        guard let last = UInt64(parts[1]), last >= first else { return nil }
        return first..<min(size, last == .max ? size : last + 1)
    }
}
