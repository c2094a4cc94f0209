package import CASCore
package import CASPack

/// Takes an exported file in arbitrary pieces and hands out its manifest and its records, each checked.
///
/// Not copyable because it owns a hash and a buffer. One thread at a time.
package struct ExportDecoder: ~Copyable {
    private enum Part {
        case header, manifest(Int), records, trailer, done
    }
    private let limits: Limits
    private var part = Part.header
    private var pending = ReusableBuffer(capacity: 4096)
    private var hasher = DigestHasher()
    private var records: RecordStreamDecoder
    /// Bytes taken so far.
    package private(set) var takenBytes: UInt64 = 0

    /// A decoder at the start of a file.
    package init(limits: Limits = .standard) {
        self.limits = limits
        records = RecordStreamDecoder(limits: limits)
    }

    /// Takes the next bytes and calls the bodies with what they complete: the manifest once, before any
    /// record, and then the records without the `end`.
    ///
    /// Throws `dataLoss` for damage, `unimplemented` for a newer format. After a throw the file can not
    /// be gone on with. What the records hold counts only once `finish` did not throw.
    package mutating func push(
        _ bytes: UnsafeRawBufferPointer, onManifest: (ExportManifest) throws -> Void,
        onRecord: (RecordView) throws -> Void
    ) throws {
        var rest = bytes
        while rest.count > 0 {
            let before = rest.count
            switch part {
            case .header:
                guard fill(&rest, to: ExportFormat.headerByteCount) else { break }
                part = .manifest(
                    try ExportFormat.manifestByteCount(pending.bytes, limits: limits))
            case .manifest(let count):
                let end = ExportFormat.headerByteCount + count
                guard fill(&rest, to: end + ExportFormat.manifestTrailerByteCount) else { break }
                try takeManifest(end, onManifest)
            case .records:
                let piece = rest
                rest = try records.pushToEnd(rest) { record in
                    switch record.header.kind {
                    case .chunk, .directory, .attributes, .snapshot, .chunkList, .chunkReference:
                        try onRecord(record)
                    case .end: break
                    case .event, .pushRequest, .fileStart, .failure:
                        throw CASError(
                            .dataLoss,
                            "a record of kind \(record.header.kind) does not belong into an export")
                    }
                }
                hasher.update(UnsafeRawBufferPointer(rebasing: piece.prefix(before - rest.count)))
                if records.isEnded { part = .trailer }
            case .trailer:
                guard fill(&rest, to: ExportFormat.trailerByteCount) else { break }
                guard Digest(pending.bytes) == hasher.finish() else {
                    throw CASError(.dataLoss, "the export is damaged: its SHA-256 is another")
                }
                part = .done
            case .done:
                throw CASError(.dataLoss, "the export goes on after its end")
            }
            takenBytes += UInt64(before - rest.count)
        }
    }

    /// Says that no more bytes come; throws `dataLoss` if the file is not whole.
    package mutating func finish() throws {
        guard case .done = part else {
            throw CASError(
                .dataLoss, "the export is cut short: it ends after \(takenBytes) bytes",
                hint: "copy or export it again")
        }
    }

    /// Moves bytes into `pending` until it has so many; false if there are not enough yet.
    private mutating func fill(_ rest: inout UnsafeRawBufferPointer, to count: Int) -> Bool {
        let amount = min(count - pending.count, rest.count)
        pending.append(UnsafeRawBufferPointer(rebasing: rest.prefix(amount)))
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(amount))
        return pending.count == count
    }

    private mutating func takeManifest(
        _ end: Int, _ body: (ExportManifest) throws -> Void
    ) throws {
        let head = pending.bytes
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: head[end...]))
        let covered = UnsafeRawBufferPointer(rebasing: head[..<end])
        guard try reader.uint32() == Checksum.crc32c(covered) else {
            throw CASError(.dataLoss, "the list of refs of the export is damaged")
        }
        let message = UnsafeRawBufferPointer(
            rebasing: covered[ExportFormat.headerByteCount...])
        let manifest = try ExportManifest(decoding: message, limits: limits)
        hasher.update(head)
        pending = ReusableBuffer(capacity: 4096)
        part = .records
        try body(manifest)
    }
}
