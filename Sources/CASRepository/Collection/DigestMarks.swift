package import CASCore

/// A set of digests that only grows, in 16 bytes each and some room: what a collection has seen.
///
/// Half of a digest stands for it. Two digests with one half would take 2^64 attempts to find, and would
/// only make their owner's own garbage look kept or kept things of theirs look seen.
package struct DigestMarks: ~Copyable {
    /// Pairs of words; a pair of zeros is free.
    private var words: UnsafeMutablePointer<UInt64>
    private var mask: Int
    /// Digests in it.
    package private(set) var count = 0
    /// Whether the one digest is in it that looks like a free place.
    private var hasZero = false

    /// An empty set with room for so many digests before it grows.
    package init(capacity: Int = 1024) {
        var places = 16
        while places / 4 * 3 < capacity { places *= 2 }
        mask = places - 1
        words = DigestMarks.allocate(places)
    }

    deinit { words.deallocate() }

    private static func allocate(_ places: Int) -> UnsafeMutablePointer<UInt64> {
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 2 * places)
        words.initialize(repeating: 0, count: 2 * places)
        return words
    }

    /// Bytes of memory that it takes.
    package var byteCount: Int { 16 * (mask + 1) }

    /// Whether a digest is in it.
    package func contains(_ digest: Digest) -> Bool {
        let (high, low) = digest.half
        if high == 0, low == 0 { return hasZero }
        var place = Int(truncatingIfNeeded: low) & mask
        while true {
            let found = (words[2 * place], words[2 * place + 1])
            if found == (high, low) { return true }
            if found == (0, 0) { return false }
            place = (place + 1) & mask
        }
    }

    /// Adds a digest; whether it is new.
    @discardableResult
    package mutating func insert(_ digest: Digest) -> Bool {
        let (high, low) = digest.half
        if high == 0, low == 0 {
            defer { hasZero = true }
            if !hasZero { count += 1 }
            return !hasZero
        }
        if count >= (mask + 1) / 4 * 3 { grow() }
        guard DigestMarks.put(high, low, words, mask) else { return false }
        count += 1
        return true
    }

    private static func put(
        _ high: UInt64, _ low: UInt64, _ words: UnsafeMutablePointer<UInt64>, _ mask: Int
    ) -> Bool {
        var place = Int(truncatingIfNeeded: low) & mask
        while true {
            let found = (words[2 * place], words[2 * place + 1])
            if found == (high, low) { return false }
            if found == (0, 0) {
                words[2 * place] = high
                words[2 * place + 1] = low
                return true
            }
            place = (place + 1) & mask
        }
    }

    private mutating func grow() {
        let places = 2 * (mask + 1)
        let next = DigestMarks.allocate(places)
        for place in 0...mask where (words[2 * place], words[2 * place + 1]) != (0, 0) {
            _ = DigestMarks.put(words[2 * place], words[2 * place + 1], next, places - 1)
        }
        words.deallocate()
        words = next
        mask = places - 1
    }
}
