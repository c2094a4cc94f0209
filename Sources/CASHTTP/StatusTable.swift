import CASCore
import CASWire
import HTTPTypes
import Hummingbird
import NIOCore

/// Errors as this door answers them: one exhaustive table.
enum StatusTable {
    static func status(_ code: CASError.Code) -> HTTPResponse.Status {
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

    /// The answer for an error: a message for our clients, text for people with curl.
    static func response(_ error: any Error, _ request: Request) -> Response {
        let known =
            error as? CASError
            ?? CASError(.internalError, "the server failed", hint: "its log says why")
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
            status: status(known.code), headers: headers, body: ResponseBody(byteBuffer: body))
    }
}
