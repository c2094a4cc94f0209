package import CASCore

/// Reads the records of a pack in order, without a footer: for recovery and for rebuilding an index.
package struct PackScanner {
    /// How a scan ended.
    package struct Outcome: Sendable {
        /// Where the first record that could not be read starts, or the end.
        package let validEnd: UInt64
        /// Why it stopped before the end; nil if it did not.
        package let failure: CASError?
    }

    /// One thing that the scan came across.
    package enum Item {
        /// A whole record whose payload agrees with its checksum.
        case record(RecordView, offset: UInt64)
        /// A record whose header is good and whose payload is not.
        case damaged(RecordHeader, offset: UInt64, CASError)
    }

    /// Reads some bytes from an offset, at least one unless it is the end; returns how many.
    package typealias Read = (UInt64, UnsafeMutableRawBufferPointer) throws -> Int

    private let end: UInt64
    private let limits: Limits
    private let skipsDamage: Bool
    private let read: Read
    private let buffer: ReusableBuffer
    /// Where the first byte of the buffer stands in the pack.
    private var position: UInt64

    /// A scanner of the bytes from `start` (behind the header) to `end` of a pack.
    ///
    /// With `skipsDamage` it reports a record with a bad payload and goes on behind it; without, it
    /// stops there, as at anything else that is no record.
    package init(
        from start: UInt64 = UInt64(PackHeader.byteCount), to end: UInt64, limits: Limits,
        skipsDamage: Bool = false, pieceBytes: Int = 1 << 20, read: @escaping Read
    ) {
        position = start
        self.end = end
        self.limits = limits
        self.skipsDamage = skipsDamage
        self.read = read
        buffer = ReusableBuffer(capacity: max(pieceBytes, 2 * RecordHeader.byteCount))
    }

    /// Calls `body` with each record in order; what `read` or `body` throws is thrown.
    package mutating func run(_ body: (Item) throws -> Void) throws -> Outcome {
        var used = 0
        while true {
            let offset = position + UInt64(used)
            guard offset < end else { return Outcome(validEnd: offset, failure: nil) }
            guard try fill(&used, RecordHeader.byteCount) else {
                return stop(offset, "the pack ends within a record's header")
            }
            let header: RecordHeader
            do {
                header = try RecordHeader(decoding: rest(used), limits: limits)
            } catch let error as CASError {
                return Outcome(validEnd: offset, failure: error)
            }
            guard header.kind.isStored else {
                return stop(offset, "a record of kind \(header.kind) does not belong into a pack")
            }
            guard UInt64(header.recordByteCount) <= end - offset,
                try fill(&used, header.recordByteCount)
            else { return stop(offset, "the pack ends within a record") }
            let item: Item
            do {
                item = .record(try RecordCoding.view(header, rest(used)), offset: offset)
            } catch let error as CASError {
                guard skipsDamage else { return Outcome(validEnd: offset, failure: error) }
                item = .damaged(header, offset: offset, error)
            }
            try body(item)
            used += header.recordByteCount
        }
    }

    private func stop(_ offset: UInt64, _ reason: String) -> Outcome {
        Outcome(validEnd: offset, failure: CASError(.dataLoss, "\(reason) at byte \(offset)"))
    }

    private func rest(_ used: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: buffer.bytes[used...])
    }

    /// Makes `amount` bytes available behind `used`; false at the end of the pack.
    private mutating func fill(_ used: inout Int, _ amount: Int) throws -> Bool {
        guard buffer.count - used < amount else { return true }
        buffer.removeFirst(used)
        position += UInt64(used)
        used = 0
        while buffer.count < amount {
            let offset = position + UInt64(buffer.count)
            let wanted = max(amount, buffer.capacity) - buffer.count
            let room = Int(min(UInt64(wanted), end > offset ? end - offset : 0))
            guard room > 0 else { return false }
            let count = try buffer.append(maximum: room) { try read(offset, $0) }
            guard count > 0 else { return false }
        }
        return true
    }
}
