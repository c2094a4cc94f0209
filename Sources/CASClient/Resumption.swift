import CASCore

/// What to do about a push or fetch that broke off.
enum Resumption {
    /// An error of a passing kind with the word that running it again goes on.
    static func hint(_ error: any Error) -> any Error {
        guard var error = error as? CASError, error.code.isTransient else { return error }
        let again = "run the same command again: it goes on where it stopped"
        error.hint = error.hint.map { "\($0); then \(again)" } ?? again
        return error
    }
}
