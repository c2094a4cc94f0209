package import CASCore
import HTTPTypes
import Hummingbird

/// An executable of the client, open for reading.
package protocol ClientFile: Sendable {
    /// What it is.
    var digest: Digest { get }
    /// Bytes of it.
    var size: UInt64 { get }
    /// Reads at an offset; any thread may do that. Blocks.
    func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws -> Int
}

/// The executables of the client that a server hands out: its own, and those that it was before.
package protocol ClientExecutables: Sendable {
    /// The one that this server runs.
    var current: (digest: Digest, size: UInt64) { get }
    /// One by digest, verified; nil if the server does not have it. Blocks.
    func open(_ digest: Digest) throws -> (any ClientFile)?
}

/// `GET /v1/client/linux-x86_64`: the client for who has none yet.
extension Door {
    private static let platform = "linux-x86_64"

    func client(
        _ name: String, _ query: Query, _ request: Request, _ context: Context
    ) async throws -> Response {
        guard name == Door.platform, let clients else {
            throw CASError(
                .notFound, "this server has no client for '\(name)'",
                hint: clients == nil
                    ? "it was not started as cas serve on Linux, x86_64"
                    : "the only platform is \(Door.platform)")
        }
        let digest = try query["digest"].map { try Door.clientDigest($0) } ?? clients.current.digest
        guard let file = try await blocking({ try clients.open(digest) }) else {
            throw CASError(
                .notFound, "this server does not have the client \(digest), or not any more",
                hint: "it keeps the last that it offered; render the job again, and it names "
                    + "\(clients.current.digest)", digest: digest)
        }
        let tag = "\"\(digest.hexadecimal)\""
        let headers: HTTPFields = [
            .contentType: "application/octet-stream", .eTag: tag,
            // With a digest the answer never changes; without one the next server has another.
            .cacheControl: query["digest"] == nil
                ? "no-cache" : "private, max-age=31536000, immutable",
        ]
        if request.headers[.ifNoneMatch] == tag {
            return Response(status: .notModified, headers: headers)
        }
        let isHead = request.method == .head
        let body = ResponseBody(contentLength: Int(clamping: file.size)) { writer in
            if !isHead { try await send(file, context) }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: headers, body: body)
    }

    private func send(_ file: any ClientFile, _ context: Context) async throws {
        openAnswers.begin()
        defer { openAnswers.end() }
        var offset: UInt64 = 0
        while offset < file.size {
            let count = Int(min(UInt64(openAnswers.pieceBytes), file.size - offset))
            let start = offset
            _ = try await send("client", context, count) {
                let buffer = buffers.take()
                defer { buffers.give(buffer) }
                buffer.resize(to: count)
                guard try file.read(at: start, into: buffer.mutableBytes) == count else {
                    throw CASError(
                        .dataLoss, "the client's executable became shorter", digest: file.digest)
                }
                return AnswerPiece(buffer.bytes)
            }
            offset += UInt64(count)
        }
    }

    private static func clientDigest(_ text: String) throws -> Digest {
        guard text.hasPrefix("sha256:"), let digest = Digest(hexadecimal: text.dropFirst(7)) else {
            throw CASError(
                .invalidArgument, "'\(text)' is no digest",
                hint: "write digest=sha256: and 64 lower-case hexadecimal characters")
        }
        return digest
    }
}
