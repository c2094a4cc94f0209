package import CASCore

/// Takes a stream of records in arbitrary pieces and hands out whole, checked records.
///
/// A record that lies in one piece is handed out where it lies; only one that straddles pieces is
/// put together, in a buffer that grows with the bytes that came and never with a length that was
/// only claimed. Not copyable because it owns that buffer. One thread at a time.
package struct RecordStreamDecoder: ~Copyable {
    /// Beyond this the buffer is given back after the record that needed it.
    private static let keptBytes = 4 << 20

    private let limits: Limits
    private var pending = ReusableBuffer(capacity: 4096)
    private var pendingHeader: RecordHeader?
    /// Bytes of the stream handed out in whole records so far.
    package private(set) var decodedBytes: UInt64 = 0
    /// Whether the last record was an `end` or a `failure`, after which nothing may come.
    package private(set) var isEnded = false

    /// A decoder at the start of a stream.
    package init(limits: Limits = .standard) {
        self.limits = limits
    }

    /// Takes the next bytes of the stream and calls `body` for each record that they complete.
    ///
    /// The views are valid during the call only. After a throw the stream can not be resumed.
    package mutating func push(
        _ bytes: UnsafeRawBufferPointer, _ body: (RecordView) throws -> Void
    ) throws {
        let rest = try pushToEnd(bytes, body)
        guard rest.count == 0 else { throw CASError(.dataLoss, "a stream goes on after its end") }
    }

    /// The same for a stream that something else follows: stops behind the last record and returns the rest.
    package mutating func pushToEnd(
        _ bytes: UnsafeRawBufferPointer, _ body: (RecordView) throws -> Void
    ) throws -> UnsafeRawBufferPointer {
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        var rest = bytes
        while rest.count > 0, !isEnded {
            if pending.count == 0 {
                guard rest.count >= RecordHeader.byteCount else {
                    pending.append(rest)
                    return nothing
                }
                let header = try RecordHeader(decoding: rest, limits: limits)
                guard rest.count >= header.recordByteCount else {
                    pendingHeader = header
                    pending.append(rest)
                    return nothing
                }
                try emit(try RecordCoding.view(header, rest), body)
                rest = UnsafeRawBufferPointer(rebasing: rest[header.recordByteCount...])
            } else {
                let target = pendingHeader?.recordByteCount ?? RecordHeader.byteCount
                let amount = min(target - pending.count, rest.count)
                pending.append(UnsafeRawBufferPointer(rebasing: rest[..<amount]))
                rest = UnsafeRawBufferPointer(rebasing: rest[amount...])
                guard pending.count == target else { return nothing }
                try completePending(body)
            }
        }
        return rest
    }

    private mutating func completePending(_ body: (RecordView) throws -> Void) throws {
        guard let header = pendingHeader else {
            pendingHeader = try RecordHeader(decoding: pending.bytes, limits: limits)
            return
        }
        let buffer = pending
        try emit(try RecordCoding.view(header, buffer.bytes), body)
        pendingHeader = nil
        if buffer.capacity > RecordStreamDecoder.keptBytes {
            pending = ReusableBuffer(capacity: 4096)
        } else {
            pending.removeAll()
        }
    }

    private mutating func emit(
        _ view: RecordView, _ body: (RecordView) throws -> Void
    ) throws {
        decodedBytes += UInt64(view.record.count)
        isEnded = view.header.kind == .end || view.header.kind == .failure
        try body(view)
    }

    /// Says that no more bytes come; throws `dataLoss` if a record is incomplete.
    package mutating func finish() throws {
        guard pending.count == 0 else {
            throw CASError(.dataLoss, "a stream of records ends within a record")
        }
    }
}
