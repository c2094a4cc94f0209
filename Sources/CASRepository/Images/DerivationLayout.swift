import CASCore
import CASOCI

/// Where everything of a derived layer stands: bytes that are computed, and files between them.
struct LayerLayout: Sendable {
    /// A file that is not empty.
    struct File: Sendable {
        let digest: Digest
        let size: UInt64
        /// Where in the layer its content begins.
        let start: UInt64
        /// Computed bytes before it.
        let computed: Int

        var end: UInt64 { start + size }
    }
    /// What stands at a position: some of the computed bytes, or a part of a file.
    enum Place: Equatable {
        case computed(Range<Int>)
        case file(Int, from: UInt64)
    }

    /// Headers, paddings and the end of the archive, in order.
    fileprivate(set) var computed: [UInt8] = []
    /// The files in order.
    fileprivate(set) var files: [File] = []
    /// Bytes of the layer so far.
    fileprivate(set) var size: UInt64 = 0

    /// Bytes that remembering it takes.
    var byteCount: Int { computed.count + files.count * MemoryLayout<File>.stride }

    /// What stands at a position before the end.
    func place(at position: UInt64) -> Place {
        let index = firstFile(endingBehind: position)
        guard index < files.count else {
            let before = size - UInt64(computed.count)
            return .computed(Int(position - before)..<computed.count)
        }
        let file = files[index]
        guard position < file.start else { return .file(index, from: position - file.start) }
        let before = file.start - UInt64(file.computed)
        return .computed(Int(position - before)..<file.computed)
    }

    private func firstFile(endingBehind position: UInt64) -> Int {
        var low = 0
        var high = files.count
        while low < high {
            let middle = low + (high - low) / 2
            if files[middle].end > position { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

extension LayerLayout: LayerConsumer {
    mutating func bytes(_ bytes: UnsafeRawBufferPointer) {
        computed += bytes
        size += UInt64(bytes.count)
    }

    mutating func file(_ digest: Digest, size count: UInt64) {
        files.append(File(digest: digest, size: count, start: size, computed: computed.count))
        size += count
    }
}
