/// Pauses before an attempt is repeated.
package enum Backoff {
    private static let firstMilliseconds: UInt64 = 100
    private static let lastMilliseconds: UInt64 = 10_000

    /// Waits before the attempt after number `attempt`: twice as long each time, and never for all
    /// clients alike.
    package static func pause(_ attempt: Int) {
        let ceiling = min(lastMilliseconds, firstMilliseconds << UInt64(min(attempt, 16)))
        Sleep.milliseconds(UInt64.random(in: ceiling / 2...ceiling))
    }
}
