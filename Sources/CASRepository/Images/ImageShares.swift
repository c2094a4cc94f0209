import CASCatalog
package import CASCore
import CASPack
import CASTree
import CASWire
import Synchronization

/// Finds how many of the bytes of images workspaces have too.
///
/// First the chunks of all that is linked are noted, then every tree that is kept is walked, each directory once;
/// a chunk that a file has as well is shared. A store without images is done at once. What was seen takes the memory
/// of `DigestMarks`, as in a collection.
package final class ImageShares: MaintenanceTask {
    private enum Stage {
        case links(after: OCILink?)
        case made(after: DerivedImage?)
        case trees
        case done
    }
    private struct State: ~Copyable {
        var stage = Stage.links(after: nil)
        var scan: RootScan
        var blobs = DigestMarks()
        var chunks = DigestMarks()
        /// Those of the chunks that workspaces have too.
        var shared = DigestMarks()
        var layers = DigestMarks()
        var directories: [Digest] = []
        var visited = DigestMarks()
        var progress = MaintenanceProgress()
    }
    private static let directoriesPerStep = 400
    private static let imagesPerStep = 50

    private let repository: Repository
    private let domain: Domain
    private let state: Mutex<State>

    /// A search through a store.
    package init(_ repository: Repository, domain: Domain) {
        self.repository = repository
        self.domain = domain
        var first = State(scan: RootScan(repository, domain: domain))
        first.progress.phase = "looking at images"
        for name in [
            "imageBlobs", "imageBytes", "distinctBytes", "sharedBytes", "madeLayers", "madeBytes",
        ] { first.progress.add(name, 0) }
        state = Mutex(first)
    }

    package var progress: MaintenanceProgress { state.withLock { $0.progress } }

    package func step() throws -> Bool {
        try state.withLock { state in
            switch state.stage {
            case .links(let after): try takeLinks(after, &state)
            case .made(let after): try takeMade(after, &state)
            case .trees: try walk(&state)
            case .done: return false
            }
            return true
        }
    }

    /// Notes the chunks of what names have; a blob that several have counts once.
    private func takeLinks(_ after: OCILink?, _ state: inout State) throws {
        let limit = ImageShares.imagesPerStep
        try repository.catalog.read { reader in
            let page = try reader.links(after: after, limit: limit, domain: domain).map(\.link)
            for link in page where state.blobs.insert(link.digest) {
                guard let place = try reader.location(of: link.digest, domain: domain) else {
                    continue
                }
                state.progress.add("imageBlobs")
                state.progress.add("imageBytes", link.size)
                guard place.kind == .chunkList else {
                    note(link.digest, place.rawLength, &state)
                    continue
                }
                for term in try reader.chunkList(of: link.digest, domain: domain)?.terms ?? [] {
                    if case .chunk(let digest, let length) = term { note(digest, length, &state) }
                }
            }
            state.stage = page.count < limit ? .made(after: nil) : .links(after: page.last)
        }
    }

    private func note(_ chunk: Digest, _ bytes: UInt32, _ state: inout State) {
        guard state.chunks.insert(chunk) else { return }
        state.progress.add("distinctBytes", UInt64(bytes))
    }

    /// Adds up the layers that are made of trees, which take no room.
    private func takeMade(_ after: DerivedImage?, _ state: inout State) throws {
        let limit = ImageShares.imagesPerStep
        let page = try repository.catalog.read {
            try $0.derivedImages(after: after, limit: limit, domain: domain)
        }
        for layer in page.flatMap(\.layers) where state.layers.insert(layer.digest) {
            state.progress.add("madeLayers")
            state.progress.add("madeBytes", layer.size)
        }
        guard page.count < limit else {
            state.stage = .made(after: page.last)
            return
        }
        state.progress.phase = "looking through workspaces"
        state.stage = state.chunks.count == 0 ? .done : .trees
    }

    private func walk(_ state: inout State) throws {
        try repository.view(domain) { reader in
            let source = try StoredDirectories(repository, reader, domain: domain)
            if state.directories.isEmpty {
                let roots = try state.scan.next(reader, limit: ImageShares.directoriesPerStep)
                guard let roots, state.shared.count < state.chunks.count else {
                    state.stage = .done
                    return
                }
                for root in roots { try add(root, source, &state) }
                return
            }
            for _ in 0..<ImageShares.directoriesPerStep {
                guard let next = state.directories.last else { return }
                try enter(next, reader, source, &state)
            }
        }
    }

    /// The tree of a root, if it has one.
    private func add(
        _ root: Marking.Root, _ source: StoredDirectories, _ state: inout State
    ) throws {
        let tree = try root.tree ?? whole { try source.snapshot(root.digest)?.tree.digest }
        if let tree, state.visited.insert(tree) { state.directories.append(tree) }
    }

    /// Looks at a directory; one that the store lost has nothing.
    private func enter(
        _ digest: Digest, _ reader: any CatalogReader, _ source: StoredDirectories,
        _ state: inout State
    ) throws {
        let directory = try whole { try source.directory(digest) }
        state.directories.removeLast()
        guard let directory else { return }
        let files = directory.files.map(\.digest)
        for (file, list) in zip(files, try reader.chunkLists(of: files, domain: domain)) {
            for term in list?.terms ?? [] {
                if case .chunk(let chunk, let bytes) = term { share(chunk, bytes, &state) }
            }
            guard list == nil, state.chunks.contains(file), !state.shared.contains(file),
                let place = try reader.location(of: file, domain: domain)
            else { continue }
            share(file, place.rawLength, &state)
        }
        guard UInt64(state.visited.count) < repository.limits.treeEntries else {
            throw CASError(.resourceExhausted, "the store has too many directories to look through")
        }
        for child in directory.directories where state.visited.insert(child.digest) {
            state.directories.append(child.digest)
        }
    }

    private func share(_ chunk: Digest, _ bytes: UInt32, _ state: inout State) {
        guard state.chunks.contains(chunk), state.shared.insert(chunk) else { return }
        state.progress.add("sharedBytes", UInt64(bytes))
    }

    private func whole<Message>(_ body: () throws -> Message?) throws -> Message? {
        do {
            return try body()
        } catch let error as CASError where error.code == .dataLoss {
            return nil
        }
    }
}
