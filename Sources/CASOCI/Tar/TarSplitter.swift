import CASCore

/// Takes what a `TarSplitter` tells apart; runs of the same kind may come in several calls.
package protocol TarConsumer {
    /// Bytes between the contents of files: padding, headers, and the end of the archive.
    mutating func structure(_ bytes: UnsafeRawBufferPointer) throws
    /// A file of `size` bytes, at least one, begins here.
    mutating func beginFile(size: UInt64) throws
    /// Bytes of the file that has begun.
    mutating func content(_ bytes: UnsafeRawBufferPointer) throws
    /// The file ends here: after its bytes, or before them where the input ends.
    mutating func endFile() throws
    /// Bytes that are no archive, or no longer one that is understood; nothing else follows.
    mutating func plain(_ bytes: UnsafeRawBufferPointer) throws
}

/// Finds the files in a tar archive that comes in buffers of any size.
///
/// What does not begin with a header is plain from the first byte, and what holds something odd is plain
/// from behind the block that is: no input is an error. How the input lies in buffers makes no difference to
/// where anything begins or ends. Of contents it looks at no byte.
package struct TarSplitter: Sendable {
    private enum Phase: UInt8 {
        /// In the first block, which decides whether this is an archive at all.
        case first
        /// In a header.
        case header
        /// In the records of a PAX header for the next entry, or in what pads them.
        case extended
        /// In bytes that mean nothing here: padding, long names, a PAX header for all entries.
        case skipped
        /// In the content of a file.
        case content
        /// Behind the first block of zeros.
        case end
        /// In what is no archive.
        case plain
    }

    private enum Step {
        case structure
        case file(UInt64)
        case odd
    }

    /// Bytes that are kept of an unfinished header or PAX header at most.
    private static let maximumHeldBytes = PAXRecord.maximumBytes + TarHeader.blockBytes
    private static let stateVersion: UInt8 = 1

    private var phase = Phase.first
    /// Bytes of the phase that are still to come; unused in those that have no end of their own.
    private var remaining: UInt64 = 0
    /// Bytes of the file or of the records of the phase, without padding.
    private var size: UInt64 = 0
    /// The size that a PAX header gives the next entry.
    private var nextSize: UInt64?
    /// The beginning of a block or of records that the last buffer ended within.
    private var held: [UInt8] = []

    /// A splitter before the first byte.
    package init() {}

    /// Whether it has given up, or never began, to take the input for an archive.
    package var isPlain: Bool { phase == .plain }

    /// Whether an archive may end here.
    var isBetweenEntries: Bool {
        switch phase {
        case .end: true
        case .header: held.isEmpty && nextSize == nil
        case .first, .extended, .skipped, .content, .plain: false
        }
    }

    /// Bytes that were taken and not handed on yet: of the first block, as long as it is not complete.
    package var pending: [UInt8] { phase == .first ? held : [] }

    /// Takes the next bytes of the input, and hands them on.
    package mutating func push(
        _ bytes: UnsafeRawBufferPointer, to consumer: inout some TarConsumer
    ) throws {
        var place = 0
        if phase == .first {
            guard try takeFirst(bytes, &place, &consumer) else { return }
        }
        // Where the bytes of headers and padding begin that were not handed on.
        var run = place
        func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: bytes[range])
        }
        while place < bytes.count {
            let rest = part(place..<bytes.count)
            switch phase {
            case .first, .plain:
                if run < place { try consumer.structure(part(run..<place)) }
                try consumer.plain(rest)
                return
            case .content:
                if run < place { try consumer.structure(part(run..<place)) }
                try takeContent(rest, &place, &consumer)
                run = place
            case .skipped:
                place += advance(rest.count)
                if remaining == 0 { phase = .header }
            case .extended:
                takeExtended(rest, &place)
            case .end:
                place += TarBlock.firstNonzero(rest) ?? rest.count
                if place < bytes.count { phase = .plain }
            case .header:
                guard let step = takeHeader(rest, &place) else { continue }
                if case .file(let size) = step {
                    try consumer.structure(part(run..<place))
                    run = place
                    try begin(size, &consumer)
                }
            }
        }
        if run < place { try consumer.structure(part(run..<place)) }
    }

    /// Ends the input.
    package mutating func finish(to consumer: inout some TarConsumer) throws {
        switch phase {
        case .first:
            if !held.isEmpty { try held.withUnsafeBytes { try consumer.plain($0) } }
        case .content: try consumer.endFile()
        default: break
        }
        held = []
        phase = .plain
    }

    /// Gathers the first block, and hands it on once it is there; whether there may be more to do.
    private mutating func takeFirst(
        _ bytes: UnsafeRawBufferPointer, _ place: inout Int, _ consumer: inout some TarConsumer
    ) throws -> Bool {
        let count = min(TarHeader.blockBytes - held.count, bytes.count)
        held += UnsafeRawBufferPointer(rebasing: bytes[..<count])
        place = count
        guard held.count == TarHeader.blockBytes else { return false }
        let first = held
        held = []
        let step = first.withUnsafeBytes { block in
            TarBlock.isZero(block) ? Step.odd : decide(block)
        }
        switch step {
        case .odd:
            phase = .plain
            try first.withUnsafeBytes { try consumer.plain($0) }
        case .structure:
            try first.withUnsafeBytes { try consumer.structure($0) }
        case .file(let size):
            try first.withUnsafeBytes { try consumer.structure($0) }
            try begin(size, &consumer)
        }
        return true
    }

    /// Takes bytes of a header; what it says once it is complete.
    private mutating func takeHeader(
        _ rest: UnsafeRawBufferPointer, _ place: inout Int
    ) -> Step? {
        let count = min(TarHeader.blockBytes - held.count, rest.count)
        let part = UnsafeRawBufferPointer(rebasing: rest[..<count])
        place += count
        let step: Step
        if held.isEmpty, count == TarHeader.blockBytes {
            step = decide(part)
        } else {
            held += part
            guard held.count == TarHeader.blockBytes else { return nil }
            let block = held
            held = []
            step = block.withUnsafeBytes { decide($0) }
        }
        if case .odd = step { phase = .plain }
        return step
    }

    /// What follows a header; sets the phase for anything but a file.
    private mutating func decide(_ bytes: UnsafeRawBufferPointer) -> Step {
        if TarBlock.isZero(bytes) {
            phase = .end
            return .structure
        }
        guard let block = TarBlock(bytes) else { return .odd }
        switch TarHeader.Kind(flag: block.flag) {
        case .file:
            let size = nextSize ?? block.size
            nextSize = nil
            phase = .header
            return size == 0 ? .structure : .file(size)
        case .hardLink, .symlink, .characterDevice, .blockDevice, .directory, .pipe:
            // Readers do not agree whether bytes follow where a size is given.
            guard nextSize ?? block.size == 0 else { return .odd }
            nextSize = nil
            phase = .header
            return .structure
        case .other(let flag):
            guard block.size <= UInt64(PAXRecord.maximumBytes) else { return .odd }
            size = block.size
            remaining = block.size + UInt64(TarHeader.padding(block.size))
            switch flag {
            case UInt8(ascii: "x"): phase = .extended
            case UInt8(ascii: "g"), UInt8(ascii: "L"), UInt8(ascii: "K"): phase = .skipped
            default: return .odd
            }
            if remaining == 0 { phase = .header }
            return .structure
        }
    }

    private mutating func begin(_ size: UInt64, _ consumer: inout some TarConsumer) throws {
        phase = .content
        self.size = size
        remaining = size
        try consumer.beginFile(size: size)
    }

    private mutating func takeContent(
        _ rest: UnsafeRawBufferPointer, _ place: inout Int, _ consumer: inout some TarConsumer
    ) throws {
        let count = advance(rest.count)
        place += count
        try consumer.content(UnsafeRawBufferPointer(rebasing: rest[..<count]))
        guard remaining == 0 else { return }
        try consumer.endFile()
        remaining = UInt64(TarHeader.padding(size))
        phase = remaining == 0 ? .header : .skipped
    }

    /// Gathers the records of a PAX header, and reads them once their padding has come as well.
    private mutating func takeExtended(_ rest: UnsafeRawBufferPointer, _ place: inout Int) {
        let count = advance(rest.count)
        place += count
        let wanted = min(count, Int(size) - min(held.count, Int(size)))
        held += UnsafeRawBufferPointer(rebasing: rest[..<wanted])
        guard remaining == 0 else { return }
        let content = held
        held = []
        phase = .header
        do {
            let records = try PAXRecord.parse(content)
            if let value = PAXRecord.value("size", in: records) {
                let size = try PAXRecord.integer(value)
                guard size <= UInt64(Int64.max) else { throw PAXRecord.malformed() }
                nextSize = size
            }
        } catch {
            phase = .plain
        }
    }

    /// Takes up to `count` of the remaining bytes.
    private mutating func advance(_ count: Int) -> Int {
        let taken = Int(min(remaining, UInt64(count)))
        remaining -= UInt64(taken)
        return taken
    }
}

/// Where a splitter stands, to go on from in another process.
extension TarSplitter {
    /// The state in bytes: version, phase, remaining, size, whether the next size is known and which, and
    /// what is held (little-endian).
    package var state: [UInt8] {
        var output: [UInt8] = [TarSplitter.stateVersion, phase.rawValue]
        output.append(littleEndian: remaining)
        output.append(littleEndian: size)
        output.append(nextSize == nil ? 0 : 1)
        output.append(littleEndian: nextSize ?? 0)
        output.append(littleEndian: UInt32(held.count))
        output += held
        return output
    }

    /// A splitter that goes on where another one stood; throws `dataLoss` for what no splitter wrote, and
    /// `unimplemented` for what a newer one did.
    package init(state: [UInt8]) throws {
        self = try state.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            guard try reader.uint8() == TarSplitter.stateVersion else {
                throw CASError(
                    .unimplemented, "an upload was begun by another version of cas",
                    hint: "begin it again")
            }
            var splitter = TarSplitter()
            guard let phase = Phase(rawValue: try reader.uint8()) else {
                throw TarSplitter.damaged()
            }
            splitter.phase = phase
            splitter.remaining = try reader.uint64()
            splitter.size = try reader.uint64()
            let flag = try reader.uint8()
            let next = try reader.uint64()
            guard flag < 2, flag == 1 || next == 0, next <= UInt64(Int64.max) else {
                throw TarSplitter.damaged()
            }
            splitter.nextSize = flag == 1 ? next : nil
            splitter.held = try reader.array(Int(try reader.uint32()))
            guard reader.isAtEnd, splitter.isConsistent else { throw TarSplitter.damaged() }
            return splitter
        }
    }

    private static func damaged() -> CASError {
        CASError(.dataLoss, "the state of an upload is damaged", hint: "begin it again")
    }

    /// Whether a splitter can get here.
    private var isConsistent: Bool {
        guard size <= UInt64(Int64.max), remaining <= size + UInt64(TarHeader.blockBytes),
            held.count <= TarSplitter.maximumHeldBytes
        else { return false }
        switch phase {
        case .first: return held.count < TarHeader.blockBytes && size == 0 && remaining == 0
        case .header: return held.count < TarHeader.blockBytes
        case .extended:
            let total = size + UInt64(TarHeader.padding(size))
            return size <= UInt64(PAXRecord.maximumBytes) && remaining > 0 && remaining <= total
                && UInt64(held.count) == min(size, total - remaining)
        case .content: return held.isEmpty && remaining > 0 && remaining <= size
        case .skipped: return held.isEmpty && remaining > 0
        case .end, .plain: return held.isEmpty
        }
    }
}
