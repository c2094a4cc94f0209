import CASCatalog
import CASCompression
import CASCore
import CASRepository
import CASTestSupport
import CASWire

/// A pull of an image by tag or by digest, a piece of a blob at a step, while anything else happens.
struct PullActivity {
    private struct Item {
        let key: ImageModel.LinkKey
        var isFound = false
        /// Whether the bytes are zstd frames.
        var isFramed = false
        var bytes: [UInt8] = []

        mutating func restart() {
            bytes = []
            isFramed = false
        }
    }
    private let name: String
    private let tag: RefName?
    /// What comes next, the first one last.
    private var items: [Item]
    private var source: (any PieceSource)?
    private weak var process: SimulatedProcess?
    private var troubles = 0

    init?(_ simulation: StoreSimulation) {
        let images = simulation.model.images
        switch simulation.draw(3) {
        case 0:
            name = simulation.drawImageName()
            tag = simulation.drawImageTag(name)
            items = []
        case 1:
            name = simulation.drawImageName()
            tag = nil
            guard let manifest = simulation.drawManifest(name) else { return nil }
            items = [Item(key: .init(name: name, digest: manifest, kind: .manifest))]
        default:
            let known = images.derivedImages
            guard !known.isEmpty else { return nil }
            let image = known[simulation.draw(known.count)]
            name = image.ref.name
            tag = nil
            items = [Item(key: .init(name: name, digest: image.manifest, kind: .manifest))]
        }
        simulation.note("pulls \(tag?.description ?? items[0].key.digest.short) of \(name)")
    }

    /// The next call; true at the end.
    mutating func step(
        _ simulation: StoreSimulation, _ repository: Repository, _ process: SimulatedProcess
    ) throws -> Bool {
        if self.process !== process { source = nil }
        self.process = process
        let wasPromised = try items.last.map { try simulation.isWhole($0.key) } ?? false
        do {
            if let tag, items.isEmpty {
                guard let entry = try repository.ref(tag, domain: .standard) else { return true }
                items = [Item(key: .init(name: name, digest: entry.target.digest, kind: .manifest))]
                return false
            }
            guard var item = items.popLast() else { return true }
            let isDone: Bool
            do {
                isDone = try next(&item, wasPromised, simulation, repository)
            } catch {
                items.append(item)
                throw error
            }
            guard isDone else {
                if item.isFound { items.append(item) }
                return !item.isFound
            }
            try finish(item, simulation)
            if items.isEmpty { simulation.summary.pulls += 1 }
            return items.isEmpty
        } catch let error as CASError {
            simulation.note("pull failed: \(error)")
            source = nil
            if !items.isEmpty { items[items.count - 1].restart() }
            let isGone = [.notFound, .dataLoss, .failedPrecondition].contains(error.code)
            if isGone, let key = items.last?.key {
                if try !wasPromised || !simulation.isWhole(key) { return true }
            }
            guard simulation.isExcused(error, process) else {
                throw simulation.fail("a pull of \(name) failed: \(error)")
            }
            troubles += 1
            return troubles > 5
        }
    }

    /// Looks for a blob, or reads a piece of it; true once it is read.
    private mutating func next(
        _ item: inout Item, _ wasPromised: Bool, _ simulation: StoreSimulation,
        _ repository: Repository
    ) throws -> Bool {
        let key = item.key
        guard item.isFound else {
            item.isFound =
                name.hasPrefix(StoreSimulation.imageNames)
                ? try simulation.look(for: key, repository) != nil
                : try repository.link(name, key.digest, kind: key.kind, domain: .standard) != nil
            guard !item.isFound, wasPromised, try simulation.isWhole(key) else { return false }
            throw simulation.fail("\(name) lacks \(key.digest.short)")
        }
        guard let source else {
            guard let reader = try repository.blobReader(key.digest, domain: .standard) else {
                throw CASError(.notFound, "the blob is gone", digest: key.digest)
            }
            // Frames begin anew, as they may be others by now.
            if item.isFramed { item.restart() }
            if item.bytes.isEmpty, simulation.draw(3) == 0, let frames = try reader.frames() {
                source = frames
                item.isFramed = true
                return false
            }
            // What broke off goes on with a range.
            source = try reader.pieces(UInt64(item.bytes.count)..<reader.size)
            return false
        }
        for _ in 0...simulation.draw(4) {
            guard try source.next({ item.bytes += $0 }) else { return true }
        }
        return false
    }

    private static func expand(_ frames: [UInt8]) throws -> [UInt8] {
        let decompressor = try StreamDecompressor(.zstd)
        var bytes: [UInt8] = []
        try frames.withUnsafeBytes { frames in
            try decompressor.decompress(frames) { bytes += $0 }
        }
        try decompressor.finish()
        return bytes
    }

    /// Compares what came, and goes on with what it names.
    private mutating func finish(_ item: Item, _ simulation: StoreSimulation) throws {
        source = nil
        let images = simulation.model.images
        let found = item.isFramed ? try PullActivity.expand(item.bytes) : item.bytes
        if item.isFramed { simulation.summary.framed += 1 }
        guard let bytes = images.contents[item.key.digest], bytes == found else {
            throw simulation.fail("a pull of \(item.key.digest.short) brought something else")
        }
        guard item.key.kind == .manifest else { return }
        let manifest = images.manifests[item.key.digest]
        let parts = images.derived(item.key.digest)?.blobs ?? manifest?.parts ?? []
        items += parts.reversed().map { part in
            Item(
                key: .init(
                    name: name, digest: part,
                    kind: manifest?.isIndex ?? false ? .manifest : .blob))
        }
    }
}

extension StoreSimulation {
    /// Whether a name has to have a blob, and all of it.
    func isWhole(_ key: ImageModel.LinkKey) throws -> Bool {
        if key.name.hasPrefix(StoreSimulation.imageNames) { return try isPromised(key) }
        // Of an image that a snapshot is.
        return try catalog.read { reader in
            try model.images.derived.values.contains { image in
                guard image.isKept, image.ref.name == key.name,
                    image.manifest == key.digest || image.blobs.contains(key.digest),
                    let entry = try reader.ref(image.ref, domain: .standard)
                else { return false }
                return try isVisible(image, by: entry) && !isTouched(entry.target.digest)
                    && (!hasPurges || !isTouched(image, purgedDigests()))
            }
        }
    }
}
