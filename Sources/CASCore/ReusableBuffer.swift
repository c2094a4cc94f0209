/// A growing run of bytes that is filled, used and emptied many times without new allocations.
///
/// A class, so that it can be handed between threads without a copy; `@unchecked Sendable` because
/// exactly one thread owns it at a time, which the queues that pass it along guarantee.
package final class ReusableBuffer: @unchecked Sendable {
    private var storage: UnsafeMutableRawBufferPointer
    /// Bytes in use.
    package private(set) var count = 0

    /// An empty buffer with room for `capacity` bytes.
    package init(capacity: Int = 64 * 1024) {
        storage = .allocate(byteCount: max(capacity, 64), alignment: 64)
    }

    deinit {
        storage.deallocate()
    }

    /// Bytes it can hold before it grows.
    package var capacity: Int { storage.count }

    /// The bytes in use; valid until the next change.
    package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(storage)[..<count])
    }

    /// The bytes in use, to change in place; valid until the next growth.
    package var mutableBytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: storage[..<count])
    }

    /// Empties it and keeps its memory.
    package func removeAll() { count = 0 }

    /// Drops the first `amount` bytes and moves the rest to the front.
    package func removeFirst(_ amount: Int) {
        precondition(amount <= count)
        guard amount > 0 else { return }
        let rest = count - amount
        if rest > 0, let base = storage.baseAddress {
            base.copyMemory(from: base + amount, byteCount: rest)
        }
        count = rest
    }

    /// Makes room for `additional` more bytes.
    package func reserve(_ additional: Int) {
        guard count + additional > storage.count else { return }
        let grown = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(count + additional, storage.count * 2), alignment: 64)
        grown.copyMemory(from: bytes)
        storage.deallocate()
        storage = grown
    }

    /// Adds a copy of `source` at the end.
    package func append(_ source: UnsafeRawBufferPointer) {
        reserve(source.count)
        UnsafeMutableRawBufferPointer(rebasing: storage[count...]).copyMemory(from: source)
        count += source.count
    }

    /// Adds a copy of `source` at the end.
    package func append(_ source: [UInt8]) {
        source.withUnsafeBytes { append($0) }
    }

    /// Lets `body` write up to `maximum` bytes at the end; it returns how many it wrote.
    @discardableResult
    package func append(
        maximum: Int, _ body: (UnsafeMutableRawBufferPointer) throws -> Int
    ) rethrows -> Int {
        reserve(maximum)
        let room = UnsafeMutableRawBufferPointer(rebasing: storage[count..<count + maximum])
        let written = try body(room)
        precondition(written >= 0 && written <= maximum)
        count += written
        return written
    }

    /// Sets the count, leaving the content of new bytes unspecified.
    package func resize(to newCount: Int) {
        if newCount > count { reserve(newCount - count) }
        count = newCount
    }
}
