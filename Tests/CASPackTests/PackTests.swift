import CASCore
import CASPack
import Testing

@Suite struct PackTests {
    /// A sealed pack of random records.
    private func sealed(_ seed: UInt64, count: Int) throws -> (bytes: [UInt8], footer: PackFooter) {
        var numbers = SeededNumbers(seed)
        var bytes = Samples.pack(&numbers, count: count)
        var entries: [PackFooter.Entry] = []
        _ = try scan(bytes) {
            if case .record(let view, let offset) = $0 {
                entries.append(PackFooter.Entry(view.header, offset: offset))
            }
        }
        let footer = PackFooter(entries: entries)
        bytes += footer.encode(at: UInt64(bytes.count))
        return (bytes, footer)
    }

    private func scan(
        _ bytes: [UInt8], skipsDamage: Bool = false, piece: Int = 1 << 20, most: Int = .max,
        _ body: (PackScanner.Item) throws -> Void
    ) throws -> PackScanner.Outcome {
        var scanner = PackScanner(
            to: UInt64(bytes.count), limits: .standard, skipsDamage: skipsDamage, pieceBytes: piece
        ) { offset, target in
            let rest = bytes[Int(offset)...].prefix(min(target.count, most))
            target.copyBytes(from: rest)
            return rest.count
        }
        return try scanner.run(body)
    }

    private func open(_ bytes: [UInt8]) throws -> PackFooter {
        try bytes.withUnsafeBytes { bytes in
            let tail = bytes.count - PackTrailer.byteCount
            guard tail >= 0 else { throw CASError(.dataLoss, "too short") }
            let trailer = try PackTrailer(
                decoding: UnsafeRawBufferPointer(rebasing: bytes[tail...]),
                packBytes: UInt64(bytes.count))
            return try PackFooter(
                decoding: UnsafeRawBufferPointer(
                    rebasing: bytes[Int(trailer.footerOffset)..<tail]), trailer: trailer)
        }
    }

    @Test func `a header decodes to what was encoded and refuses every changed bit`() throws {
        let header = PackHeader(
            packClass: .large, identifier: .random(), incarnation: .random(),
            created: Timestamp(seconds: -5, nanoseconds: 7))
        let bytes = header.encode()
        #expect(bytes.count == PackHeader.byteCount)
        #expect(try bytes.withUnsafeBytes { try PackHeader(decoding: $0) } == header)
        #expect(header.created == Timestamp(seconds: -5))
        for bit in 0..<bytes.count * 8 {
            var changed = bytes
            changed[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: CASError.self, "bit \(bit)") {
                try changed.withUnsafeBytes { try PackHeader(decoding: $0) }
            }
        }
    }

    @Test(arguments: [0, 1, 2, 3, 100])
    func `a footer finds every record and nothing else`(count: Int) throws {
        let (bytes, footer) = try sealed(UInt64(count), count: count)
        let found = try open(bytes)
        #expect(found == footer)
        #expect(found.entries.count == count)
        for entry in footer.entries {
            #expect(found.all(entry.digest).contains(entry))
            #expect(found.find(entry.digest)?.digest == entry.digest)
        }
        for other in 0..<50 {
            #expect(found.find(Digest.of(Array("other \(other)".utf8))) == nil)
        }
    }

    @Test func `records with one key are all found, the first in the pack first`() {
        let digest = Digest.of([1])
        let entries = [700, 64, 300].map {
            PackFooter.Entry(
                digest: digest, kind: .chunk, codec: .raw, offset: $0, storedLength: 1, rawLength: 1
            )
        }
        let footer = PackFooter(entries: entries)
        #expect(footer.all(digest).map(\.offset) == [64, 300, 700])
        #expect(footer.find(digest)?.offset == 64)
    }

    @Test func `refuses every truncated footer and every changed byte of one`() throws {
        let (bytes, footer) = try sealed(3, count: 4)
        let start =
            bytes.count - PackTrailer.byteCount - footer.entries.count * PackFooter.entryByteCount
        for index in start..<bytes.count {
            #expect(throws: CASError.self, "cut at \(index)") { try open(Array(bytes[..<index])) }
            var changed = bytes
            changed[index] ^= 1
            #expect(throws: CASError.self, "byte \(index)") { try open(changed) }
        }
        #expect(throws: CASError.self) { try open(bytes + [0]) }
    }

    @Test func `refuses entries that lie outside the pack or out of order`() throws {
        func entry(_ offset: UInt64, _ stored: UInt32, _ byte: UInt8 = 0) -> PackFooter.Entry {
            PackFooter.Entry(
                digest: Digest.of([byte]), kind: .chunk, codec: .raw, offset: offset,
                storedLength: stored, rawLength: stored)
        }
        func opens(_ entries: [PackFooter.Entry]) -> Bool {
            let pack = [UInt8](repeating: 0, count: 200)
            do {
                _ = try open(pack + PackFooter(entries: entries).encode(at: 200))
                return true
            } catch { return false }
        }
        #expect(opens([entry(64, 68)]))
        #expect(!opens([entry(63, 68)]))
        #expect(!opens([entry(64, 69)]))
        #expect(!opens([entry(.max, 1)]))
        #expect(!opens([entry(64, .max)]))
        #expect(!opens([entry(64, 1), entry(64, 1)]))
    }

    @Test(arguments: [64, 100, 4096, 1 << 20], [1, 7, 1000, Int.max])
    func `a scan yields every record, whatever pieces it reads`(piece: Int, most: Int) throws {
        var numbers = SeededNumbers(9)
        let bytes = Samples.pack(&numbers, count: 25)
        let expected = Samples.kept(Array(bytes[PackHeader.byteCount...]))
        var found: [Kept] = []
        let outcome = try scan(bytes, piece: piece, most: most) { item in
            guard case .record(let view, let offset) = item else { return }
            #expect(Array(bytes[Int(offset)...].prefix(view.record.count)) == Array(view.record))
            found.append(Kept(view))
        }
        #expect(found == expected)
        #expect(outcome.validEnd == UInt64(bytes.count))
        #expect(outcome.failure == nil)
    }

    @Test func `a scan of a truncated pack stops at the last whole record and says why`() throws {
        var numbers = SeededNumbers(4)
        let bytes = Samples.pack(&numbers, count: 3)
        var ends = [UInt64(PackHeader.byteCount)]
        for record in Samples.kept(Array(bytes[PackHeader.byteCount...])) {
            ends.append((ends.last ?? 0) + UInt64(record.record.count))
        }
        for end in PackHeader.byteCount...bytes.count {
            var records = 0
            let outcome = try scan(Array(bytes[..<end])) { _ in records += 1 }
            let whole = ends.prefix { $0 <= UInt64(end) }
            #expect(outcome.validEnd == whole.last)
            #expect(records == whole.count - 1)
            #expect((outcome.failure == nil) == (whole.last == UInt64(end)), "cut at \(end)")
        }
    }

    @Test func `a scan reports a damaged payload and goes on behind it when asked`() throws {
        let buffer = ReusableBuffer()
        buffer.append([UInt8](repeating: 0, count: PackHeader.byteCount))
        for byte in [UInt8(1), 2, 3] {
            RecordCoding.append(
                kind: .chunk, digest: Digest.of([byte]), payload: [byte], to: buffer)
        }
        var bytes = Array(buffer.bytes)
        let second = PackHeader.byteCount + RecordHeader.byteCount + 5
        bytes[second + RecordHeader.byteCount] ^= 0xff

        let stopped = try scan(bytes) { _ in }
        #expect(stopped.validEnd == UInt64(second))
        #expect(stopped.failure?.code == .dataLoss)

        var damaged: [UInt64] = []
        var good = 0
        let outcome = try scan(bytes, skipsDamage: true) { item in
            switch item {
            case .record: good += 1
            case .damaged(let header, let offset, _):
                damaged.append(offset)
                #expect(header.digest == Digest.of([2]))
            }
        }
        #expect(good == 2)
        #expect(damaged == [UInt64(second)])
        #expect(outcome.validEnd == UInt64(bytes.count))
    }

    @Test func `a record that is for the wire only ends a scan`() throws {
        let buffer = ReusableBuffer()
        buffer.append([UInt8](repeating: 0, count: PackHeader.byteCount))
        RecordCoding.appendMark(kind: .end, to: buffer)
        let outcome = try scan(Array(buffer.bytes)) { _ in }
        #expect(outcome.validEnd == UInt64(PackHeader.byteCount))
        #expect(outcome.failure != nil)
    }

    @Test(arguments: 0..<600 as Range<UInt64>)
    func `survives any damage to a pack`(seed: UInt64) throws {
        var numbers = SeededNumbers(seed)
        let (bytes, footer) = try sealed(seed, count: 5)
        let damaged = Samples.mutate(bytes, &numbers)
        do {
            let found = try open(damaged)
            #expect(found == footer, "seed \(seed)")
        } catch { #expect(error is CASError, "seed \(seed): \(error)") }
        guard damaged.count >= PackHeader.byteCount else { return }
        let expected = Samples.kept(
            Array(
                bytes[PackHeader.byteCount...].prefix(
                    bytes.count - PackHeader.byteCount
                        - PackTrailer.byteCount - footer.entries.count * PackFooter.entryByteCount))
        )
        _ = try scan(damaged, skipsDamage: true) { item in
            guard case .record(let view, _) = item else { return }
            #expect(expected.contains(Kept(view)), "seed \(seed)")
        }
    }
}
