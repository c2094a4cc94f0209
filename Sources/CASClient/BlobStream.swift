package import CASCore
import CASFileSystem
package import CASPack
import CASWorkspace

/// Streams of records that are asked for again where they break.
package enum BlobStream {
    static let attempts = 5

    /// Takes a stream to its end; `read` asks for it anew where it broke.
    package static func take(
        _ counters: ProgressCounters, _ limits: Limits,
        _ read: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void,
        _ body: @escaping (RecordView) throws -> Void
    ) throws {
        for attempt in 1...attempts {
            do {
                var decoder = RecordStreamDecoder(limits: limits)
                try read { bytes in
                    counters.add(transferred: UInt64(bytes.count))
                    try decoder.push(bytes, body)
                }
                try decoder.finish()
                guard decoder.isEnded else {
                    throw CASError(.unavailable, "the store stopped sending in the middle")
                }
                return
            } catch let error as CASError where error.isPassing && attempt < attempts {
                Backoff.pause(attempt)
            }
        }
    }
}
