import CASCore
import CASHTTP
import CASOCI
import HTTPTypes
import Hummingbird
import NIOCore

/// Why a request is refused, as it is answered.
struct Refusal: Error {
    /// The status.
    var status: Int
    /// What is told.
    var errors: [RegistryError]
    /// Headers of the answer.
    var headers = HTTPFields()

    init(_ code: RegistryError.Code, _ message: String, detail: String? = nil, status: Int? = nil) {
        self.status = status ?? Refusal.status(code)
        errors = [RegistryError(code, message, detail: detail.map { .text($0) })]
    }

    init(_ error: RegistryError, status: Int? = nil) {
        self.status = status ?? Refusal.status(error.code)
        errors = [error]
    }

    /// Statuses of codes, where nothing else is said (Registry.md, "Errors").
    private static func status(_ code: RegistryError.Code) -> Int {
        switch code {
        case .blobUnknown, .blobUploadUnknown, .manifestUnknown, .nameUnknown: 404
        case .blobUploadInvalid, .digestInvalid, .manifestBlobUnknown, .manifestInvalid,
            .nameInvalid, .sizeInvalid, .tagInvalid, .paginationNumberInvalid:
            400
        case .unauthorized: 401
        case .denied: 403
        case .unsupported: 405
        case .rangeInvalid: 416
        case .tooManyRequests: 429
        case .unavailable: 503
        case .unknown: 500
        }
    }

    /// A text of a request as messages may repeat it: its beginning, without control characters.
    static func shown(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.prefix(128).map {
                    $0.value < 0x20 || $0.value == 0x7f ? "?" : $0
                }
            ))
    }

    static func unknownPath(_ path: String) -> Refusal {
        Refusal(
            .unsupported, "there is nothing at '\(shown(path))'",
            detail: "the endpoints are those of the OCI distribution specification", status: 404)
    }

    static let unknownUpload = Refusal(
        .blobUploadUnknown, "there is no such upload, or not any more",
        detail: "begin a new one: POST /v2/NAME/blobs/uploads/")

    static func method(
        _ method: HTTPRequest.Method, allowed: [HTTPRequest.Method]
    ) -> Refusal {
        var refusal = Refusal(.unsupported, "\(method) is not possible here")
        refusal.headers[.allow] = allowed.map(\.rawValue).joined(separator: ", ")
        return refusal
    }

    static func unknownBlob(_ digest: OCIDigest) -> Refusal {
        Refusal(.blobUnknown, "the repository has no blob \(digest)")
    }

    static func unknownManifest(_ what: String) -> Refusal {
        Refusal(.manifestUnknown, "the repository has no manifest '\(what)'")
    }

    /// What an error of any kind is answered with; one exhaustive table.
    static func of(_ error: any Error, _ route: RegistryRoute?) -> Refusal {
        switch error {
        case let refusal as Refusal: return refusal
        case let error as RegistryError:
            guard error.code == .sizeInvalid else { return Refusal(error) }
            return Refusal(RegistryError(.manifestInvalid, error.message), status: 413)
        case let error as CASError: return of(error, route)
        case is SlowBody:
            return Refusal(
                route?.isUpload == true ? .blobUploadInvalid : .unknown,
                "the body of the request came too slowly",
                detail: "the connection is slow or broken; an upload goes on where it ended",
                status: 408)
        case is CancellationError:
            var refusal = Refusal(.unavailable, "the server is being stopped")
            refusal.headers[.retryAfter] = "1"
            return refusal
        default:
            return Refusal(.unknown, "the server failed", detail: "its log says why")
        }
    }

    private static func of(_ error: CASError, _ route: RegistryRoute?) -> Refusal {
        let isUpload = route?.isUpload ?? false
        let invalid: RegistryError.Code = isUpload ? .blobUploadInvalid : .manifestInvalid
        let code: RegistryError.Code
        var status: Int?
        switch error.code {
        case .cancelled: (code, status) = (invalid, 499)
        case .unknown, .internalError, .dataLoss: (code, status) = (.unknown, 500)
        case .invalidArgument: code = invalid
        case .outOfRange: (code, status) = (.rangeInvalid, 416)
        case .deadlineExceeded: (code, status) = (.unknown, 504)
        case .notFound: code = isUpload ? .blobUploadUnknown : .nameUnknown
        case .alreadyExists, .aborted: (code, status) = (invalid, 409)
        case .permissionDenied: code = .denied
        case .resourceExhausted:
            // The server's machine refuses where a file is named, else the request asks for too much.
            (code, status) =
                error.path == nil
                ? (isUpload ? .sizeInvalid : .manifestInvalid, 413) : (.unknown, 507)
        // A rule forbids it: of tags that are created once, for example.
        case .failedPrecondition: code = .denied
        case .unimplemented: (code, status) = (.unsupported, 501)
        case .unavailable: code = .unavailable
        case .unauthenticated: code = .unauthorized
        }
        var refusal = Refusal(code, error.message, detail: error.hint, status: status)
        if error.code == .unavailable { refusal.headers[.retryAfter] = "1" }
        return refusal
    }

    /// The answer.
    var response: Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(
            status: .init(code: status, reasonPhrase: ""), headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: RegistryError.body(errors))))
    }
}

extension RegistryRoute {
    /// Whether it is about an upload.
    var isUpload: Bool {
        switch self {
        case .beginUpload, .uploadStatus, .uploadPart, .finishUpload, .cancelUpload: true
        default: false
        }
    }
}
