import CASCore
import CASPack
import CASRepository
import CASWire
import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// How many streams are open, and how much each should take at a time.
///
/// A thousand clients that stand still leave room in the budget for others.
final class OpenAnswers: Sendable {
    private let count = Atomic<Int>(0)

    func begin() { count.add(1, ordering: .relaxed) }
    func end() { count.subtract(1, ordering: .relaxed) }

    /// Bytes that one of them should take at a time.
    var pieceBytes: Int {
        switch count.load(ordering: .relaxed) {
        case ...16: 1 << 20
        case ...64: 256 << 10
        default: 64 << 10
        }
    }
}

/// Bytes to send, in buffers of their own, so that each is freed as soon as it was sent.
package struct AnswerPiece: Sendable {
    private static let sliceBytes = 256 << 10
    var slices: [ByteBuffer] = []
    /// Whether nothing follows it.
    package var isLast = false

    /// A copy of these bytes.
    package init(_ bytes: UnsafeRawBufferPointer, isLast: Bool = false) {
        slices = stride(from: 0, to: bytes.count, by: AnswerPiece.sliceBytes).map {
            ByteBuffer(bytes: bytes[$0..<min($0 + AnswerPiece.sliceBytes, bytes.count)])
        }
        self.isLast = isLast
    }

    /// Nothing more.
    package init() { isLast = true }

    /// Nothing yet.
    package static var empty: AnswerPiece {
        var piece = AnswerPiece()
        piece.isLast = false
        return piece
    }

    /// Bytes of it.
    package var count: Int { slices.reduce(0) { $0 + $1.readableBytes } }

    /// Adds a copy of these bytes at the end.
    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while !rest.isEmpty {
            if slices.isEmpty || slices[slices.count - 1].readableBytes >= AnswerPiece.sliceBytes {
                var slice = ByteBuffer()
                slice.reserveCapacity(AnswerPiece.sliceBytes)
                slices.append(slice)
            }
            let room = AnswerPiece.sliceBytes - slices[slices.count - 1].readableBytes
            let part = min(room, rest.count)
            slices[slices.count - 1].writeBytes(
                UnsafeRawBufferPointer(rebasing: rest[..<part]))
            rest = UnsafeRawBufferPointer(rebasing: rest[part...])
        }
    }
}

/// Answers that are streams.
///
/// A stream holds memory only from when it reads a piece until the client took it, and waits for that
/// memory: a thousand clients that are slow or wait cost little more than few.
extension Door {
    /// A stream of records.
    ///
    /// What goes wrong once it has begun becomes a `failure` record.
    func stream(_ door: String, _ context: Context, _ source: any RecordSource) -> Response {
        let body = ResponseBody { writer in
            openAnswers.begin()
            defer { openAnswers.end() }
            var isLast = false
            while !isLast {
                let wanted = openAnswers.pieceBytes
                guard let size = source.size(ofNext: wanted) else { break }
                isLast = try await send(door, context, size) { try piece(of: source, wanted) }
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: WireProtocol.recordsMediaType], body: body)
    }

    /// The next piece; what goes wrong is a piece too, unless a record was begun.
    private func piece(of source: any RecordSource, _ bytes: Int) throws -> AnswerPiece {
        let buffer = buffers.take()
        defer { buffers.give(buffer) }
        do {
            _ = try source.next(into: buffer, about: bytes)
            return AnswerPiece(buffer.bytes)
        } catch  where !source.isWithinRecord {
            buffer.removeAll()
            let known = error as? CASError ?? CASError(.internalError, "the server failed")
            RecordCoding.append(
                kind: .failure, digest: .zero, payload: WireError(known).encode(), to: buffer)
            return AnswerPiece(buffer.bytes, isLast: true)
        }
    }

    func send(
        _ door: String, _ context: Context, _ size: Int,
        _ read: @escaping @Sendable () throws -> AnswerPiece
    ) async throws -> Bool {
        try await shared.send(door, context, size, read)
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
            openAnswers.begin()
            defer { openAnswers.end() }
            let size = cursor.pieceBytes
            var isLast = false
            while !isLast {
                isLast = try await send("blobs", context, size) {
                    var piece = AnswerPiece()
                    _ = try cursor.next { piece = AnswerPiece($0) }
                    return piece
                }
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
