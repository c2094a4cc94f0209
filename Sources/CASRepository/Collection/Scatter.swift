import CASCatalog
import CASCore

/// How records lie to each other, as a restore finds them: it reads what it needs in the order of packs, and
/// neighbours in one read.
enum Scatter {
    /// Neighbouring records: which they are, in the order of packs, and how many bytes.
    struct Run {
        var items: [Int]
        var bytes: UInt64
    }

    /// The runs in which records lie; one that is named several times counts where it comes first.
    static func runs(_ items: [RecordSequence.Item]) -> [Run] {
        let order = items.indices.sorted { left, right in
            let (a, b) = (items[left].location, items[right].location)
            return (a.pack, a.offset, left) < (b.pack, b.offset, right)
        }
        var runs: [Run] = []
        var last: BlobLocation?
        for index in order {
            let place = items[index].location
            defer { last = place }
            if let last, last.pack == place.pack {
                if last.offset == place.offset { continue }
                if last.offset + last.recordBytes == place.offset {
                    runs[runs.count - 1].items.append(index)
                    runs[runs.count - 1].bytes += place.recordBytes
                    continue
                }
            }
            runs.append(Run(items: [index], bytes: place.recordBytes))
        }
        return runs
    }

    /// The records that lie in runs below so many bytes, each once, in the order in which they are named.
    static func scattered(
        _ items: [RecordSequence.Item], runsBelow bytes: UInt64
    ) -> [RecordSequence.Item] {
        runs(items).filter { $0.bytes < bytes }.flatMap(\.items).sorted().map { items[$0] }
    }
}
