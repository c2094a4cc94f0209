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
        /// Bytes that a sync made durable; all there are, once the footer is.
        var durable: UInt64
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
        state = Mutex(State(length: length, durable: length))
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

    /// What becomes of what was appended once its commit failed.
    enum Remedy {
        /// It is cut off.
        case cut
        /// It stays, as the catalog may know it, and the pack takes nothing more.
        case keep
        /// A sync failed.
        case giveUp
    }

    /// Calls `body`, which may append through the function that it is given, while nobody else can, and has
    /// made that durable when it returns; if it throws, `remedy` says what becomes of that.
    func appendExclusively<Result>(
        _ body: ((UnsafeRawBufferPointer, [RecordHeader]) throws -> UInt64) throws -> Result,
        remedy: () -> Remedy
    ) throws -> Result {
        try state.withLock { state in
            if let failure = state.failure { throw failure }
            guard !state.isSealed else { throw ActivePack.sealed() }
            let start = state.length
            let count = state.entries.count
            do {
                let result = try body { records, headers in
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
                if state.length > start { state.durable = state.length }
                return result
            } catch {
                switch remedy() {
                case .cut:
                    try ActivePack.cut(file, to: start, &state)
                    state.length = start
                    state.entries.removeLast(state.entries.count - count)
                case .keep: state.failure = ActivePack.unknown(error)
                case .giveUp: giveUp(error, &state)
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

    /// Takes no more records, and cuts off what was not durable: the next process would find it readable,
    /// and the sync that it relies on would say nothing of what the kernel has dropped by then.
    private func giveUp(_ error: any Error, _ state: inout State) {
        state.failure = ActivePack.unknown(error)
        guard state.durable < UInt64.max else { return }
        // As well as it can: a disk that does not sync may not do this either.
        try? file.truncate(to: state.durable)
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
        let (length, isSealed) = try state.withLock { state in
            if let failure = state.failure { throw failure }
            return (state.length, state.isSealed)
        }
        do {
            try file.synchronizeData()
        } catch {
            state.withLock { giveUp(error, &$0) }
            throw error
        }
        state.withLock { $0.durable = isSealed ? .max : max($0.durable, length) }
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
