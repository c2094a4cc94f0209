package import CASCore

/// One whole record within bytes that somebody lent; not to be kept.
package struct RecordView {
    /// What the payload is and under which key.
    package let header: RecordHeader
    /// The payload as stored.
    package let payload: UnsafeRawBufferPointer
    /// Header, payload and trailer.
    package let record: UnsafeRawBufferPointer

    /// A view of a record whose parts were checked.
    package init(
        header: RecordHeader, payload: UnsafeRawBufferPointer, record: UnsafeRawBufferPointer
    ) {
        self.header = header
        self.payload = payload
        self.record = record
    }
}

/// Writes records, and checks records that lie in memory whole.
package enum RecordCoding {
    /// Appends header, payload and checksum.
    package static func append(
        _ header: RecordHeader, payload: UnsafeRawBufferPointer, to output: ReusableBuffer
    ) {
        precondition(header.storedLength == payload.count)
        output.append(maximum: header.recordByteCount) { target in
            header.encode(into: target)
            let middle = RecordHeader.byteCount..<RecordHeader.byteCount + payload.count
            UnsafeMutableRawBufferPointer(rebasing: target[middle]).copyMemory(from: payload)
            target.storeLittle(Checksum.crc32c(payload), at: middle.upperBound)
            return header.recordByteCount
        }
    }

    /// Appends a record whose payload is stored as it is.
    package static func append(
        kind: RecordKind, digest: Digest, payload: UnsafeRawBufferPointer,
        to output: ReusableBuffer
    ) {
        append(
            RecordHeader(
                kind: kind, codec: .raw, rawLength: payload.count, storedLength: payload.count,
                digest: digest),
            payload: payload, to: output)
    }

    /// Appends a record whose payload is stored as it is.
    package static func append(
        kind: RecordKind, digest: Digest, payload: [UInt8], to output: ReusableBuffer
    ) {
        payload.withUnsafeBytes { append(kind: kind, digest: digest, payload: $0, to: output) }
    }

    /// Appends a record without payload: `fileStart`, `chunkReference` (with its length) or `end`.
    package static func appendMark(
        kind: RecordKind, digest: Digest = .zero, rawLength: Int = 0, to output: ReusableBuffer
    ) {
        precondition(kind.hasNoPayload)
        append(
            RecordHeader(kind: kind, rawLength: rawLength, storedLength: 0, digest: digest),
            payload: UnsafeRawBufferPointer(start: nil, count: 0), to: output)
    }

    /// Appends a record whose payload `encode` appends in place; nothing is copied afterwards.
    ///
    /// `encode` only appends. If it throws, `output` is as it was before.
    @discardableResult
    package static func appendFrame(
        kind: RecordKind, digest: Digest, rawLength: Int, to output: ReusableBuffer,
        encode: (ReusableBuffer) throws -> FrameCodec
    ) throws -> RecordHeader {
        let start = output.count
        output.resize(to: start + RecordHeader.byteCount)
        let codec: FrameCodec
        do {
            codec = try encode(output)
        } catch {
            output.resize(to: start)
            throw error
        }
        let end = output.count
        let header = RecordHeader(
            kind: kind, codec: codec, rawLength: rawLength,
            storedLength: end - start - RecordHeader.byteCount, digest: digest)
        output.resize(to: end + RecordHeader.trailerByteCount)
        let whole = output.mutableBytes
        header.encode(into: UnsafeMutableRawBufferPointer(rebasing: whole[start...]))
        let payload = UnsafeRawBufferPointer(
            rebasing: UnsafeRawBufferPointer(whole)[start + RecordHeader.byteCount..<end])
        whole.storeLittle(Checksum.crc32c(payload), at: end)
        return header
    }

    /// Checks a payload against the four bytes that followed it; throws `dataLoss`.
    package static func checkPayload(
        _ header: RecordHeader, payload: UnsafeRawBufferPointer, trailer: UnsafeRawBufferPointer
    ) throws {
        guard payload.count == header.storedLength, trailer.count >= RecordHeader.trailerByteCount,
            trailer.loadLittle(UInt32.self, at: 0) == Checksum.crc32c(payload)
        else {
            throw CASError(.dataLoss, "the payload of a record is damaged", digest: header.digest)
        }
    }

    /// The record at the front of `bytes`, checked; throws `dataLoss` if it is not there whole.
    package static func decode(
        _ bytes: UnsafeRawBufferPointer, limits: Limits
    ) throws -> RecordView {
        let header = try RecordHeader(decoding: bytes, limits: limits)
        guard header.recordByteCount <= bytes.count else {
            throw CASError(.dataLoss, "a record is cut short", digest: header.digest)
        }
        return try view(header, bytes)
    }

    /// Calls `body` with every record of `bytes`, which must be whole records; checks each first.
    package static func forEach(
        in bytes: UnsafeRawBufferPointer, limits: Limits, _ body: (RecordView) throws -> Void
    ) throws {
        var rest = bytes
        while rest.count > 0 {
            let record = try decode(rest, limits: limits)
            rest = UnsafeRawBufferPointer(rebasing: rest[record.record.count...])
            try body(record)
        }
    }

    /// The record at the front of `bytes`, known to be there whole.
    static func view(
        _ header: RecordHeader, _ bytes: UnsafeRawBufferPointer
    ) throws -> RecordView {
        let end = RecordHeader.byteCount + header.storedLength
        let payload = UnsafeRawBufferPointer(rebasing: bytes[RecordHeader.byteCount..<end])
        let record = UnsafeRawBufferPointer(rebasing: bytes[..<header.recordByteCount])
        try checkPayload(
            header, payload: payload, trailer: UnsafeRawBufferPointer(rebasing: record[end...]))
        return RecordView(header: header, payload: payload, record: record)
    }
}
