package import CASCore
import CASFileSystem

/// Repeats what failed for a passing reason, which the contract of every method allows.
package final class RetryingBackend: ObjectBackend {
    private static let attempts = 5
    private let base: any ObjectBackend
    private let pause: @Sendable (Int) -> Void

    /// Repeats calls of `base`, each time after a pause, which is told the number of the attempt.
    package init(
        _ base: any ObjectBackend, pause: @escaping @Sendable (Int) -> Void = Backoff.pause
    ) {
        self.base = base
        self.pause = pause
    }

    private func retry<Result>(_ body: () throws -> Result) throws -> Result {
        for attempt in 1..<RetryingBackend.attempts {
            do {
                return try body()
            } catch let error as CASError where error.code.isTransient {
                pause(attempt)
            }
        }
        return try body()
    }

    package func put(_ name: Identifier, _ source: ObjectSource) throws -> Bool {
        try retry { try base.put(name, source) }
    }

    package func read(
        _ name: Identifier, at offset: UInt64, into target: UnsafeMutableRawBufferPointer
    ) throws -> Int? {
        try retry { try base.read(name, at: offset, into: target) }
    }

    package func list(after: Identifier?, limit: Int) throws -> [ObjectEntry] {
        try retry { try base.list(after: after, limit: limit) }
    }

    package func delete(_ name: Identifier) throws {
        try retry { try base.delete(name) }
    }

    package func place(of name: Identifier) -> String { base.place(of: name) }
}
