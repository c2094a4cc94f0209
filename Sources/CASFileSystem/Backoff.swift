/// Pauses before an attempt is repeated.
package enum Backoff {
    private static let firstMilliseconds: UInt64 = 100
    /// The longest pause.
    package static let lastMilliseconds: UInt64 = 10_000

    /// Waits before the attempt after number `attempt`: twice as long each time, and never for all
    /// clients alike.
    package static func pause(_ attempt: Int) {
        Sleep.milliseconds(milliseconds(attempt))
    }

    /// How long `pause` would wait.
    package static func milliseconds(
        _ attempt: Int, last: UInt64 = Backoff.lastMilliseconds
    ) -> UInt64 {
        let ceiling = min(last, firstMilliseconds << UInt64(min(attempt, 16)))
        return UInt64.random(in: ceiling / 2...ceiling)
    }
}
