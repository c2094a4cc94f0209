import CASCore
import CASOCI
import CASPack
import CASTree
import CASWorkspace
import Synchronization

/// Reads blobs out of the layers.
extension CarriedSnapshot {
    /// Bytes between two wanted blobs that are read along rather than asked around.
    private static let gapBytes: UInt64 = 64 << 10

    /// Streams records of blobs, as stores do; throws `notFound` for what is not in the snapshot.
    func stream(
        _ digests: [Digest], listsOnly: Bool = false,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try withoutActuallyEscaping(sink) { sink in
            let records = try CarriedRecords(of: registry.text, compresses: compresses, sink)
            do {
                try write(digests, listsOnly, to: records)
                try records.finish()
            } catch {
                throw records.failure ?? error
            }
        }
    }

    private func write(
        _ digests: [Digest], _ listsOnly: Bool, to records: CarriedRecords
    ) throws {
        var wanted: [CarriedExtent] = []
        for digest in Set(digests) {
            if let list = lists[digest], listsOnly {
                try records.append(.chunkList, digest, list.encode())
            } else if let kind = kinds[digest], let message = contents.message(digest) {
                try records.append(kind, digest, message)
            } else if digest == self.digest {
                try records.append(.snapshot, digest, snapshot.encode())
            } else if let extent = try extent(digest) {
                wanted.append(extent)
            } else {
                throw CASError(
                    .notFound, "\(registry.text) carries no such file", digest: digest)
            }
        }
        try read(wanted, to: records)
    }

    /// Where a file, or a chunk of one, stands.
    private func extent(_ digest: Digest) throws -> CarriedExtent? {
        let found =
            files[digest]
            ?? chunks.withLock { chunks in
                let all = chunks ?? allChunks()
                chunks = all
                return all[digest]
            }
        if let found, found.list == nil, found.size > UInt64(limits.recordRawBytes) {
            throw CarrierFormat.damaged("it does not say how a large file is composed")
        }
        return found
    }

    private func allChunks() -> [Digest: CarriedExtent] {
        var all: [Digest: CarriedExtent] = [:]
        for file in files.values {
            guard let list = file.list else { continue }
            var offset = file.offset
            for term in list.terms {
                if case .chunk(let digest, let length) = term {
                    all[digest] = CarriedExtent(
                        layer: file.layer, offset: offset, size: UInt64(length), digest: digest)
                }
                offset += UInt64(term.length)
            }
        }
        return all
    }

    /// Reads these blobs, layer by layer and in each from its first byte on.
    func read(_ extents: [CarriedExtent], to records: CarriedRecords) throws {
        var rest = extents.sorted(by: CarriedExtent.precedes)
        while !rest.isEmpty {
            // A file and a chunk of it stand over each other: one after the other then.
            var now: [CarriedExtent] = []
            var later: [CarriedExtent] = []
            for extent in rest {
                if let last = now.last, last.layer == extent.layer, extent.offset < last.end {
                    later.append(extent)
                } else {
                    now.append(extent)
                }
            }
            var start = 0
            while start < now.count {
                let end =
                    now[start...].firstIndex { $0.layer != now[start].layer } ?? now.count
                try read(now[start..<end], of: now[start].layer, records)
                start = end
            }
            rest = later
        }
    }

    private func read(
        _ extents: ArraySlice<CarriedExtent>, of number: Int, _ records: CarriedRecords
    ) throws {
        let layer = layers[number]
        records.begin(extents)
        if layer.isPlain, !refusesRanges.withLock({ $0 }) {
            do {
                for run in CarriedSnapshot.runs(extents) { try read(run, of: layer, records) }
                return
            } catch let error as CASError where error.code == .unimplemented {
                refusesRanges.withLock { $0 = true }
            }
        }
        var position: UInt64 = 0
        try until(records) {
            try layer.read(maximumBytes: sizes[number]) { bytes in
                try records.feed(bytes, at: position)
                position += UInt64(bytes.count)
            }
        }
        guard records.isDone else {
            throw CarrierFormat.damaged("a layer is shorter than its tree says")
        }
    }

    /// Runs of bytes that hold wanted blobs and not much else.
    private static func runs(_ extents: ArraySlice<CarriedExtent>) -> [Range<UInt64>] {
        var runs: [Range<UInt64>] = []
        for extent in extents {
            if let last = runs.last, extent.offset - last.upperBound <= gapBytes {
                runs[runs.count - 1] = last.lowerBound..<extent.end
            } else {
                runs.append(extent.offset..<extent.end)
            }
        }
        return runs
    }

    private func read(
        _ run: Range<UInt64>, of layer: CarriedLayer, _ records: CarriedRecords
    ) throws {
        var position = run.lowerBound
        try until(records) {
            try registry.retrying {
                guard position < run.upperBound else { return }
                try registry.read(
                    layer.descriptor.digest, range: position..<run.upperBound
                ) { bytes in
                    try records.feed(bytes, at: position)
                    position += UInt64(bytes.count)
                }
            }
        }
    }

    /// Ends where no more is wanted, which is no failure.
    private func until(_ records: CarriedRecords, _ body: () throws -> Void) throws {
        do { try body() } catch {
            guard records.isDone, records.failure == nil else { throw error }
        }
    }
}
