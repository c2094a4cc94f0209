import CASClient
import CASCore
import CASOCI

/// What a registry's refusal means, in words for a person.
enum RegistryFailure {
    /// Bytes of an answer that is an error at most.
    static let bodyBytes = 64 << 10
    private static let shownErrors = 3

    /// The error for a status that was not hoped for; `what` is what was tried.
    static func error(
        _ head: WebHead, _ body: [UInt8], _ what: String, _ location: RegistryLocation,
        hasCredential: Bool
    ) -> CASError {
        let errors = RegistryError.parse(body)
        let said = errors.prefix(shownErrors).map(\.description).joined(separator: "; ")
        let why = said.isEmpty ? "status \(head.status)" : "status \(head.status), \(said)"
        return CASError(
            code(head.status, errors), "\(location.host): \(what) was refused: \(why)",
            hint: hint(head.status, location, hasCredential))
    }

    private static func code(_ status: UInt, _ errors: [RegistryError]) -> CASError.Code {
        if errors.contains(where: { $0.code == .digestInvalid || $0.code == .sizeInvalid }) {
            return .dataLoss
        }
        return switch status {
        case 401: .unauthenticated
        case 403: .permissionDenied
        case 404: .notFound
        case 405: .unimplemented
        case 409, 412: .aborted
        case 413, 507: .resourceExhausted
        case 416: .outOfRange
        case 408, 429, 500, 502, 503, 504: .unavailable
        case 400...499: .invalidArgument
        default: .unknown
        }
    }

    private static func hint(
        _ status: UInt, _ location: RegistryLocation, _ hasCredential: Bool
    ) -> String? {
        switch status {
        case 401, 403:
            hasCredential
                ? "the credentials for \(location.host) do not allow it"
                : "there are no credentials for \(location.host): podman login or docker login, or "
                    + "cas login for a server of cas"
        case 413: "the registry takes no body of that size"
        default: nil
        }
    }

    /// The error for a service that gives no token.
    static func token(
        _ head: WebHead, _ body: [UInt8], _ location: RegistryLocation, _ realm: WebAddress,
        _ hasCredential: Bool
    ) -> CASError {
        let what = "a token from \(realm.origin)"
        // Who is told "forbidden" by such a service has a wrong password as a rule.
        var error = error(head, body, what, location, hasCredential: hasCredential)
        if head.status == 400 || head.status == 403 { error.code = .unauthenticated }
        return error
    }

    /// The error for an answer that is nothing that a registry says.
    static func garbled(_ place: String, cause: (any Error)? = nil) -> CASError {
        CASError(
            .failedPrecondition, "\(place) does not answer as a registry does",
            hint: "is the address right?", cause: cause)
    }
}
