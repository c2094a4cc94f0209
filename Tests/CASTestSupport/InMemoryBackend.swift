package import CASCore
import CASFileSystem
package import CASStorage
import Synchronization

/// Objects that outlive every process and power cut of the machines that use them.
package final class InMemoryObjects: Sendable {
    fileprivate let state = Mutex<[Identifier: [UInt8]]>([:])

    fileprivate let putHook = Mutex<(@Sendable () -> Void)?>(nil)
    fileprivate let listHook = Mutex<(@Sendable () -> Void)?>(nil)

    /// No objects.
    package init() {}

    /// Names of all objects, in order.
    package var names: [Identifier] { state.withLock { $0.keys.sorted() } }

    /// Calls `body` before each put, so that it can be slow.
    package func beforePut(_ body: @escaping @Sendable () -> Void) {
        putHook.withLock { $0 = body }
    }

    /// Calls `body` before the next page of a listing.
    package func beforeNextList(_ body: @escaping @Sendable () -> Void) {
        listHook.withLock { $0 = body }
    }

    /// Makes every call take up to so many milliseconds, drawn from a seed: on the way there, before it has
    /// its effect, and on the way back.
    package func setLatency(milliseconds: UInt64, seed: UInt64) {
        latency.withLock { $0 = (milliseconds, SeededGenerator(seed: seed)) }
    }

    fileprivate func travel() {
        let pause = latency.withLock { latency -> UInt64? in
            guard let milliseconds = latency?.milliseconds else { return nil }
            return latency?.random.next(upperBound: milliseconds + 1)
        }
        if let pause, pause > 0 { Sleep.milliseconds(pause) }
    }

    private let latency = Mutex<(milliseconds: UInt64, random: SeededGenerator)?>(nil)

    /// The bytes of an object; nil if there is none.
    package subscript(_ name: Identifier) -> [UInt8]? {
        get { state.withLock { $0[name] } }
        set { state.withLock { $0[name] = newValue } }
    }
}

/// A backend by the rules of S3: whole objects put if absent, short pages, nothing renamed or appended.
///
/// Each call is an operation of the machine's file system, so that a test makes the Nth of either fail, lose
/// its answer, or be the last before the power goes; and it can take its time (`setLatency`).
package final class InMemoryBackend: ObjectBackend {
    /// The most that a page of a listing has, whatever was asked for.
    private static let pageEntries = 3

    package let objects: InMemoryObjects
    private let machine: SimulatedFileSystem

    /// These objects, as seen from a machine.
    package init(_ objects: InMemoryObjects, machine: SimulatedFileSystem) {
        self.objects = objects
        self.machine = machine
    }

    package func put(_ name: Identifier, _ source: ObjectSource) throws -> Bool {
        objects.putHook.withLock { $0 }?()
        let count = Int(try source.file.size())
        let bytes = try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = try source.file.read(at: 0, into: UnsafeMutableRawBufferPointer(buffer))
        }
        let put: () -> Bool = { [objects] in
            objects.state.withLock { state in
                guard state[name] == nil else { return false }
                state[name] = bytes
                return true
            }
        }
        objects.travel()
        defer { objects.travel() }
        // When the power goes the request is on its way; every other one arrives.
        let half: () -> Void = { if name.low % 2 == 0 { _ = put() } }
        return try machine.perform(.putObject, "\(name)", half: { _ in half() }) { _ in put() }
    }

    package func read(
        _ name: Identifier, at offset: UInt64, into target: UnsafeMutableRawBufferPointer
    ) throws -> Int? {
        objects.travel()
        defer { objects.travel() }
        return try machine.perform(.readObject, "\(name)") { [objects] _ in
            objects.state.withLock { state in
                guard let bytes = state[name] else { return nil }
                guard offset < UInt64(bytes.count) else { return 0 }
                let end = min(Int(offset) + target.count, bytes.count)
                bytes[Int(offset)..<end].withUnsafeBytes { target.copyMemory(from: $0) }
                return end - Int(offset)
            }
        }
    }

    package func list(after: Identifier?, limit: Int) throws -> [ObjectEntry] {
        objects.listHook.withLock { $0.take() }?()
        objects.travel()
        defer { objects.travel() }
        return try machine.perform(.listObjects, "") { [objects] _ in
            objects.state.withLock { state in
                state.filter { entry in after.map { $0 < entry.key } ?? true }
                    .sorted { $0.key < $1.key }
                    .prefix(min(limit, InMemoryBackend.pageEntries))
                    .map { ObjectEntry(name: $0.key, size: UInt64($0.value.count)) }
            }
        }
    }

    package func delete(_ name: Identifier) throws {
        objects.travel()
        defer { objects.travel() }
        try machine.perform(.deleteObject, "\(name)") { [objects] _ in
            objects.state.withLock { $0[name] = nil }
        }
    }

    package func place(of name: Identifier) -> String { "memory:\(name)" }
}
