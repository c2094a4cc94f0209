/// Text for a number of seconds, as flags take it.
package enum DurationText {
    /// `30d`, `36h`, `90m`, `45s`: the largest unit that is exact.
    package static func text(_ seconds: UInt64) -> String {
        for (unit, count) in [("d", UInt64(86_400)), ("h", 3600), ("m", 60)]
        where seconds >= count && seconds.isMultiple(of: count) {
            return "\(seconds / count)\(unit)"
        }
        return "\(seconds)s"
    }
}
