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
    ///
    /// `isAll` says that nothing more will be asked for of the layers that have these.
    func stream(
        _ digests: [Digest], listsOnly: Bool = false, isAll: Bool = false,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try withoutActuallyEscaping(sink) { sink in
            let records = try CarriedRecords(of: registry.text, compresses: compresses, sink)
            do {
                try write(digests, listsOnly, isAll, to: records)
                try records.finish()
            } catch {
                throw records.failure ?? error
            }
        }
    }

    private func write(
        _ digests: [Digest], _ listsOnly: Bool, _ isAll: Bool, to records: CarriedRecords
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
        try read(wanted, isAll: isAll, to: records)
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
    private func read(
        _ extents: [CarriedExtent], isAll: Bool, to records: CarriedRecords
    ) throws {
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
                try read(now[start..<end], of: now[start].layer, isAll && later.isEmpty, records)
                start = end
            }
            rest = later
        }
    }

    private func read(
        _ extents: ArraySlice<CarriedExtent>, of number: Int, _ isAll: Bool,
        _ records: CarriedRecords
    ) throws {
        let layer = layers[number]
        records.begin(extents)
        if layer.isPlain, !refusesRanges.withLock({ $0 }) {
            do {
                for run in CarriedSnapshot.runs(extents) {
                    try feed(records, from: run.lowerBound) {
                        try registry.read(layer.descriptor.digest, range: run, $0)
                    }
                }
                return
            } catch let error as CASError where error.code == .unimplemented {
                refusesRanges.withLock { $0 = true }
            }
        }
        // What one alone reads from its beginning needs no second look.
        let isOnce = isAll && !layer.isPlain
        if !isOnce, let end = extents.last?.end, let spool = try spools?.spool(number) {
            try spool.unpack(to: end)
            for run in CarriedSnapshot.runs(extents) {
                try feed(records, from: run.lowerBound) { try spool.read(run, $0) }
            }
        } else {
            try feed(records, from: 0) { try layer.read(maximumBytes: sizes[number], $0) }
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

    /// Feeds what `read` hands on, and ends where no more is wanted, which is no failure.
    private func feed(
        _ records: CarriedRecords, from start: UInt64,
        _ read: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
        var position = start
        do {
            try read { bytes in
                let place = position
                position += UInt64(bytes.count)
                try records.feed(bytes, at: place)
            }
        } catch {
            guard records.isDone, records.failure == nil else { throw error }
        }
    }
}
