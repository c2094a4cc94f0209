import CASCompression
import CASCore
import CASFileSystem
import CASOCI
import Synchronization

/// A layer, unpacked into a file as far as somebody wanted it.
///
/// It is read once as far as was wanted first, and once from there to its end. Any thread may call.
final class LayerSpool: Sendable {
    private let file: any StoreFile
    /// Bytes of the plain archive that lie in the file.
    private let written = Watermark()
    private let unpacking: Mutex<Unpacking>

    /// A layer of so many bytes unpacked, into an empty file.
    init(_ layer: CarriedLayer, size: UInt64, file: any StoreFile) {
        self.file = file
        unpacking = Mutex(Unpacking(layer, size, file, written))
    }

    /// Hands on a part of the plain archive.
    func read(
        _ range: Range<UInt64>, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws { try ScratchFile.read(file, range, sink) }

    /// Sees that the file holds the archive up to a position; throws `dataLoss` for another layer than it should be.
    func unpack(to end: UInt64) throws {
        // Others read what is there while one unpacks the rest.
        try written.reach(end) { try unpacking.withLock { try $0.run(to: end) } }
    }

    func close() { file.close() }
}

/// The state of reading a layer: it can stop between two pieces and go on later.
private struct Unpacking {
    /// Ends a reading that has what it wanted.
    private struct Enough: Error {}

    private let layer: CarriedLayer
    private let size: UInt64
    private let file: any StoreFile
    private let written: Watermark
    private var work: Work?
    private var failure: CASError?

    init(_ layer: CarriedLayer, _ size: UInt64, _ file: any StoreFile, _ written: Watermark) {
        self.layer = layer
        self.size = size
        self.file = file
        self.written = written
    }

    /// What came so far; a class, as closures hold it while its parts change.
    private final class Work {
        let decompressor: StreamDecompressor?
        private var plain: DigestHasher? = DigestHasher()
        private var stored: OCIDigestHasher?
        /// Bytes that came as they are stored, and as they are unpacked.
        var storedCount: UInt64 = 0
        var count: UInt64 = 0

        init(_ layer: CarriedLayer) throws {
            decompressor = try layer.format.map { try StreamDecompressor($0) }
            stored = OCIDigestHasher(layer.descriptor.digest.algorithm)
        }

        func take(stored bytes: UnsafeRawBufferPointer) {
            stored?.update(bytes)
            storedCount += UInt64(bytes.count)
        }

        func take(plain bytes: UnsafeRawBufferPointer) {
            plain?.update(bytes)
            count += UInt64(bytes.count)
        }

        /// The digests of all that came; nothing comes afterwards.
        func finish() -> (stored: OCIDigest?, plain: Digest?) {
            var plain = plain.take()
            return (stored.take()?.finish(), plain?.finish())
        }
    }

    mutating func run(to end: UInt64) throws {
        if let failure { throw failure }
        // Who comes back wants more of it as a rule, and connections are not free.
        let target = work == nil ? end : size
        let work = try self.work ?? Work(layer)
        self.work = work
        do {
            try read(work, target)
        } catch is Enough {
            return
        } catch let error as CASError {
            // Others who wait hear the same: it was tried often enough, or what came was wrong.
            if !error.isPassing { failure = error }
            throw error
        }
    }

    private func read(_ work: Work, _ target: UInt64) throws {
        var position = work.storedCount
        try layer.registry.read(layer.descriptor, from: &position) { bytes in
            work.take(stored: bytes)
            if let decompressor = work.decompressor {
                try decompressor.decompress(bytes) { try take($0, work) }
            } else {
                try take(bytes, work)
            }
            written.raise(to: work.count)
            if target < size, work.count >= target { throw Enough() }
        }
        try work.decompressor?.finish()
        let digests = work.finish()
        guard work.storedCount == layer.descriptor.size, digests.stored == layer.descriptor.digest
        else { throw layer.registry.wrong(layer.descriptor) }
        guard digests.plain == layer.diffID else { throw layer.another }
        guard work.count >= target else {
            throw CarrierFormat.damaged("a layer is shorter than its tree says")
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer, _ work: Work) throws {
        guard UInt64(bytes.count) <= size - work.count else { throw layer.tooLarge(size) }
        try file.append(bytes)
        work.take(plain: bytes)
    }
}
