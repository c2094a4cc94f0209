package import CASCore

extension Precondition {
    /// What is said when a ref is not where this wants it; `present` is what it names now.
    package func failure(_ ref: RefName, present: Digest?) -> CASError {
        let message =
            switch (self, present) {
            case (.absent, let present?): "'\(ref)' exists already: it names \(present)"
            case (_, let present?): "'\(ref)' was moved by somebody else: it names \(present) now"
            case (_, nil): "there is no ref '\(ref)' any more"
            }
        return CASError(
            .aborted, message,
            hint: "look at it with cas log \(ref), then decide again with --if-match")
    }
}
