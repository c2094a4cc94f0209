/// The one error type: what kind it is, what happened and what to do, why, and about what.
///
/// Absence is nil and no error. Wrong content is `dataLoss` and never retried in silence.
package struct CASError: Error, Sendable {
    /// The kinds of failure, in gRPC's vocabulary; every door maps them exhaustively.
    package enum Code: UInt8, Sendable, CaseIterable {
        case cancelled = 1
        case unknown = 2
        case invalidArgument = 3
        case deadlineExceeded = 4
        case notFound = 5
        case alreadyExists = 6
        case permissionDenied = 7
        case resourceExhausted = 8
        case failedPrecondition = 9
        case aborted = 10
        case outOfRange = 11
        case unimplemented = 12
        case internalError = 13
        case unavailable = 14
        case dataLoss = 15
        case unauthenticated = 16

        /// Whether the same request may succeed later without a change.
        package var isTransient: Bool { self == .unavailable || self == .deadlineExceeded }
    }

    /// The kind of failure.
    package var code: Code
    /// What happened, in one sentence without a full stop.
    package var message: String
    /// What to do about it, if there is something.
    package var hint: String?
    /// What failed below, if anything did.
    package var cause: (any Error)?
    /// The bytes concerned, if any.
    package var digest: Digest?
    /// The file concerned, if any, as text for a person.
    package var path: String?
    /// Whether it was tried again and again already, so that nobody above does.
    package var isRepeated = false

    /// Whether whoever sees it should try again.
    package var isPassing: Bool { code.isTransient && !isRepeated }

    /// The same error for those above one that has tried again often enough.
    package var repeated: CASError {
        var error = self
        error.isRepeated = true
        return error
    }

    /// An error of a kind, with its message.
    package init(
        _ code: Code, _ message: String, hint: String? = nil, cause: (any Error)? = nil,
        digest: Digest? = nil, path: String? = nil
    ) {
        self.code = code
        self.message = message
        self.hint = hint
        self.cause = cause
        self.digest = digest
        self.path = path
    }
}

extension CASError: CustomStringConvertible {
    /// The message, what it is about and its causes, on one line.
    package var description: String {
        var text = message
        if let path, !message.contains(path) { text = "\(path): \(text)" }
        if let digest { text += " (\(digest))" }
        if let cause { text += ": \(cause)" }
        return text
    }
}
