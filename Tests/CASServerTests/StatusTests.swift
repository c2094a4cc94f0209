import CASCore
import CASHTTP
import Testing

@Suite struct StatusTests {
    private static let table: [CASError.Code: Int] = [
        .cancelled: 499, .unknown: 500, .invalidArgument: 400, .deadlineExceeded: 504,
        .notFound: 404, .alreadyExists: 409, .permissionDenied: 403, .resourceExhausted: 413,
        .failedPrecondition: 412, .aborted: 409, .outOfRange: 400, .unimplemented: 501,
        .internalError: 500, .unavailable: 503, .dataLoss: 500, .unauthenticated: 401,
    ]

    @Test(arguments: CASError.Code.allCases)
    func `every code has its status`(code: CASError.Code) {
        #expect(StatusTable.status(CASError(code, "x")) == Self.table[code])
    }

    @Test func `a full disk is not a request that is too large`() {
        let full = CASError(.resourceExhausted, "write: No space left", path: "/store/packs/1")
        #expect(StatusTable.status(full) == 507)
    }
}
