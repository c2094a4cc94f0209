package import CASCore
import Synchronization

/// What was asked of a backend, for metrics; only ever goes up.
package final class ObjectCounters: Sendable {
    private let putCount = Atomic<UInt64>(0)
    private let readCount = Atomic<UInt64>(0)
    private let readByteCount = Atomic<UInt64>(0)
    private let listCount = Atomic<UInt64>(0)
    private let deleteCount = Atomic<UInt64>(0)
    private let failureCount = Atomic<UInt64>(0)

    /// Nothing so far.
    package init() {}

    /// Objects that were put, also those that were there already.
    package var puts: UInt64 { putCount.load(ordering: .relaxed) }
    /// Ranges that were read.
    package var reads: UInt64 { readCount.load(ordering: .relaxed) }
    /// Bytes that were read.
    package var readBytes: UInt64 { readByteCount.load(ordering: .relaxed) }
    /// Pages of listings.
    package var lists: UInt64 { listCount.load(ordering: .relaxed) }
    /// Objects that were deleted, also those that were not there.
    package var deletes: UInt64 { deleteCount.load(ordering: .relaxed) }
    /// Calls that threw; they count as nothing else.
    package var failures: UInt64 { failureCount.load(ordering: .relaxed) }

    fileprivate func addPut() { putCount.add(1, ordering: .relaxed) }
    fileprivate func addRead(_ bytes: Int) {
        readCount.add(1, ordering: .relaxed)
        readByteCount.add(UInt64(bytes), ordering: .relaxed)
    }
    fileprivate func addList() { listCount.add(1, ordering: .relaxed) }
    fileprivate func addDelete() { deleteCount.add(1, ordering: .relaxed) }
    fileprivate func addFailure() { failureCount.add(1, ordering: .relaxed) }
}

/// Counts the calls of another backend.
package final class CountingBackend: ObjectBackend {
    private let base: any ObjectBackend
    private let counters: ObjectCounters

    /// Counts calls of `base`.
    package init(_ base: any ObjectBackend, _ counters: ObjectCounters) {
        self.base = base
        self.counters = counters
    }

    private func counted<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch {
            counters.addFailure()
            throw error
        }
    }

    package func put(_ name: Identifier, _ source: ObjectSource) throws -> Bool {
        let isMade = try counted { try base.put(name, source) }
        counters.addPut()
        return isMade
    }

    package func read(
        _ name: Identifier, at offset: UInt64, into target: UnsafeMutableRawBufferPointer
    ) throws -> Int? {
        let count = try counted { try base.read(name, at: offset, into: target) }
        counters.addRead(count ?? 0)
        return count
    }

    package func list(after: Identifier?, limit: Int) throws -> [ObjectEntry] {
        let page = try counted { try base.list(after: after, limit: limit) }
        counters.addList()
        return page
    }

    package func delete(_ name: Identifier) throws {
        try counted { try base.delete(name) }
        counters.addDelete()
    }

    package func place(of name: Identifier) -> String { base.place(of: name) }
}
