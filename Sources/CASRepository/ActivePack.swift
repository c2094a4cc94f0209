import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import Synchronization

/// A pack that this process created, holds the lock of, and appends to.
///
/// Any thread may append; the mutex keeps records whole and in order.
final class ActivePack: Sendable {
    let number: Int64
    let identifier: Identifier
    let packClass: PackClass
    let file: any StoreFile

    private struct State {
        var length: UInt64
        var entries: [PackFooter.Entry] = []
        var isSealed = false
        /// Set by a failed sync or cut: nothing of what was not durable may be believed any more.
        var failure: CASError?
    }
    private let state: Mutex<State>

    init(
        number: Int64, identifier: Identifier, packClass: PackClass, file: any StoreFile,
        length: UInt64
    ) {
        self.number = number
        self.identifier = identifier
        self.packClass = packClass
        self.file = file
        state = Mutex(State(length: length))
    }

    /// Bytes of header and records.
    var length: UInt64 { state.withLock { $0.length } }

    /// Whether it took records.
    var isEmpty: Bool { state.withLock { $0.entries.isEmpty } }

    /// Why it must not be used any more, if so.
    var failure: CASError? { state.withLock { $0.failure } }

    /// Appends whole records and returns where they begin; nil if the pack is sealed or failed.
    ///
    /// `headers` are those of the records, in order. A failed write leaves the pack as it was.
    func append(_ records: UnsafeRawBufferPointer, _ headers: [RecordHeader]) throws -> UInt64? {
        try state.withLock { state in
            guard !state.isSealed, state.failure == nil else { return nil }
            let start = state.length
            do {
                try file.append(records)
            } catch {
                try ActivePack.cut(file, to: start, &state)
                throw error
            }
            state.length += UInt64(records.count)
            var offset = start
            for header in headers {
                state.entries.append(PackFooter.Entry(header, offset: offset))
                offset += UInt64(header.recordByteCount)
            }
            return start
        }
    }

    /// Calls `body`, which may append through the function that it is given, while nobody else can;
    /// cuts the pack back to where it was if `body` throws and `mayCut` then agrees.
    func appendExclusively<Result>(
        _ body: ((UnsafeRawBufferPointer, [RecordHeader]) throws -> UInt64) throws -> Result,
        mayCut: () -> Bool
    ) throws -> Result {
        try state.withLock { state in
            if let failure = state.failure { throw failure }
            guard !state.isSealed else { throw ActivePack.sealed() }
            let start = state.length
            let count = state.entries.count
            do {
                return try body { records, headers in
                    let offset = state.length
                    try file.append(records)
                    state.length += UInt64(records.count)
                    var next = offset
                    for header in headers {
                        state.entries.append(PackFooter.Entry(header, offset: next))
                        next += UInt64(header.recordByteCount)
                    }
                    return offset
                }
            } catch {
                if mayCut() {
                    try ActivePack.cut(file, to: start, &state)
                    state.length = start
                    state.entries.removeLast(state.entries.count - count)
                } else {
                    state.failure = ActivePack.unknown(error)
                }
                throw error
            }
        }
    }

    private static func cut(
        _ file: any StoreFile, to length: UInt64, _ state: inout State
    ) throws {
        do {
            try file.truncate(to: length)
        } catch {
            state.failure = unknown(error)
            throw error
        }
    }

    private static func unknown(_ error: any Error) -> CASError {
        CASError(
            .unavailable, "a pack can not be trusted after a failed operation",
            hint: "try again; if it goes on, restart the server", cause: error)
    }

    static func sealed() -> CASError { CASError(.internalError, "the pack is sealed") }

    /// Makes all records appended so far durable and returns how many bytes that are.
    ///
    /// A failure is final: the kernel may have dropped what it could not write and would call the
    /// next sync a success.
    func synchronize() throws -> UInt64 {
        let length = try state.withLock { state in
            if let failure = state.failure { throw failure }
            return state.length
        }
        do {
            try file.synchronizeData()
        } catch {
            state.withLock { $0.failure = ActivePack.unknown(error) }
            throw error
        }
        return length
    }

    /// Writes the footer behind the last record; no records are taken afterwards.
    func seal() throws {
        try state.withLock { state in
            if let failure = state.failure { throw failure }
            guard !state.isSealed else { return }
            let footer = PackFooter(entries: state.entries).encode(at: state.length)
            do {
                try footer.withUnsafeBytes { try file.append($0) }
            } catch {
                try ActivePack.cut(file, to: state.length, &state)
                throw error
            }
            state.isSealed = true
            state.entries = []
        }
    }

    /// Whether it has its footer.
    var isSealed: Bool { state.withLock { $0.isSealed } }
}
