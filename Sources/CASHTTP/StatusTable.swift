package import CASCore
import CASWire
import HTTPTypes
import Hummingbird
import NIOCore

/// Errors as this door answers them: one exhaustive table.
///
/// Two codes have two: `deadlineExceeded` is 408 where the request itself was too slow; `resourceExhausted` is 413 where a request asks for too much, and 507 where the
/// server's machine refuses (a full disk); only the latter names a file.
package enum StatusTable {
    /// The status of an error.
    package static func status(_ error: CASError) -> Int {
        error.code == .resourceExhausted && error.path != nil
            ? 507 : status(error.code).code
    }

    private static func status(_ code: CASError.Code) -> HTTPResponse.Status {
        switch code {
        case .cancelled: .init(code: 499, reasonPhrase: "Client Closed Request")
        case .unknown, .internalError, .dataLoss: .internalServerError
        case .invalidArgument, .outOfRange: .badRequest
        case .deadlineExceeded: .gatewayTimeout
        case .notFound: .notFound
        case .alreadyExists, .aborted: .conflict
        case .permissionDenied: .forbidden
        case .resourceExhausted: .contentTooLarge
        case .failedPrecondition: .preconditionFailed
        case .unimplemented: .notImplemented
        case .unavailable: .serviceUnavailable
        case .unauthenticated: .unauthorized
        }
    }

    private static func known(_ error: any Error) -> CASError {
        switch error {
        case let error as CASError: error
        case is SlowBody:
            CASError(
                .deadlineExceeded, "the body of the request came too slowly",
                hint: "the connection to the server is slow or broken; try again")
        case is CancellationError:
            CASError(.unavailable, "the server is being stopped", hint: "try again in a moment")
        default: CASError(.internalError, "the server failed", hint: "its log says why")
        }
    }

    /// The answer for an error: a message for our clients, text for people with curl.
    static func response(_ error: any Error, _ request: Request) -> Response {
        let known = known(error)
        var headers = HTTPFields()
        if known.code == .unauthenticated { headers[.wwwAuthenticate] = "Bearer realm=\"cas\"" }
        if known.code == .unavailable { headers[.retryAfter] = "1" }
        let wantsMessage =
            request.headers[.accept]?.contains(WireProtocol.messageMediaType) ?? false
        let body: ByteBuffer
        if wantsMessage {
            headers[.contentType] = WireProtocol.messageMediaType
            body = ByteBuffer(bytes: WireError(known).encode())
        } else {
            headers[.contentType] = "text/plain; charset=utf-8"
            var text = "error: \(known.message)\n"
            if let hint = known.hint { text += "hint: \(hint)\n" }
            body = ByteBuffer(string: text)
        }
        return Response(
            status: .init(code: error is SlowBody ? 408 : status(known), reasonPhrase: ""),
            headers: headers,
            body: ResponseBody(byteBuffer: body))
    }
}
