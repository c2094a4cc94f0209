import CASCompression
import CASCore
import CASFileSystem
import CASPack
import Synchronization

/// The bytes of a range of a derived layer.
final class LayerPieces: PieceSource {
    /// One thread at a time has it; `@unchecked Sendable` since the mutex of its owner guards it.
    private final class State: @unchecked Sendable {
        let stream: LayerStream
        let buffer = ReusableBuffer(capacity: 1 << 20)

        init(_ stream: LayerStream) { self.stream = stream }
    }
    private let state: Mutex<State>

    init(
        _ repository: Repository, _ layout: LayerLayout, _ range: Range<UInt64>, domain: Domain
    ) throws {
        state = Mutex(State(try LayerStream(repository, layout, range, domain: domain)))
    }

    func next(_ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Bool {
        try state.withLock { state in
            let (stream, buffer) = (state.stream, state.buffer)
            buffer.removeAll()
            let isMore = try stream.next { piece in
                switch piece {
                case .computed(let bytes): buffer.append(bytes)
                case .record(let record, let range):
                    buffer.append(
                        UnsafeRawBufferPointer(rebasing: try stream.decode(record)[range]))
                }
            }
            if isMore { try body(buffer.bytes) }
            return isMore
        }
    }
}

/// A derived layer as zstd frames: those of files as they are stored, fresh ones for headers and for what is
/// so short that a frame of its own would cost the reader more than it saves.
final class LayerFrames: PieceSource {
    /// Files up to this go into fresh frames with the headers around them.
    private static let shortBytes = 4 << 10
    /// About how much one fresh frame holds.
    private static let freshBytes = 256 << 10

    /// One thread at a time has it; `@unchecked Sendable` since the mutex of its owner guards it.
    private final class State: @unchecked Sendable {
        let stream: LayerStream
        let compressor: Compressor
        let fresh = ReusableBuffer(capacity: 2 * freshBytes)
        let output = ReusableBuffer(capacity: 1 << 20)
        var isEnded = false

        init(_ stream: LayerStream) throws {
            self.stream = stream
            compressor = try Compressor()
        }

        func add(_ piece: LayerStream.Piece) throws {
            switch piece {
            case .computed(let bytes): fresh.append(bytes)
            case .record(let record, let range):
                let header = record.header
                guard header.rawLength > shortBytes, range.count == header.rawLength else {
                    fresh.append(UnsafeRawBufferPointer(rebasing: try stream.decode(record)[range]))
                    break
                }
                try flush()
                switch header.codec {
                case .zstd: output.append(record.payload)
                case .raw: output.append(RawFrame.encode(record.payload))
                }
            }
            if fresh.count >= freshBytes { try flush() }
        }

        func flush() throws {
            guard fresh.count > 0 else { return }
            let start = output.count
            if try compressor.encode(fresh.bytes, into: output) == .raw {
                output.resize(to: start)
                output.append(RawFrame.encode(fresh.bytes))
            }
            fresh.removeAll()
        }
    }
    private let state: Mutex<State>

    init(_ repository: Repository, _ layout: LayerLayout, domain: Domain) throws {
        state = Mutex(
            try State(
                try LayerStream(repository, layout, 0..<layout.size, domain: domain)))
    }

    func next(_ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Bool {
        try state.withLock { state in
            state.output.removeAll()
            while state.output.count == 0 {
                if state.isEnded { return false }
                if try !state.stream.next({ try state.add($0) }) {
                    state.isEnded = true
                    try state.flush()
                }
            }
            try body(state.output.bytes)
            return true
        }
    }
}
