package import CASCore
package import CASPack
import CASWire

/// What a sender says when it can not go on.
package enum RecordFailure {
    /// The error in a `failure` record.
    package static func error(_ record: RecordView) -> CASError {
        do {
            return try WireError(decoding: record.payload).error
        } catch {
            return CASError(.unknown, "the store could not go on", cause: error)
        }
    }
}
