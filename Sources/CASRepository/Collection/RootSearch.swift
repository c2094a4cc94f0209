import CASCatalog
package import CASCore
import CASTree
import CASWire
import Synchronization

/// Finds what keeps a blob: every ref, pin, history and fetch whose tree reaches it, and by which path.
///
/// Whether a directory reaches it is remembered, so that each is read once however many trees share it. A step
/// goes by entries that it looks at, and ends in the middle of a tree if need be.
package final class RootSearch: MaintenanceTask {
    private struct State {
        var scan: RootScan
        var waiting: ArraySlice<Marking.Root> = []
        var visit: Visit?
        var progress = MaintenanceProgress()
        var known: [Digest: Reach] = [:]
        /// Messages of permissions and times that do not reach it.
        var seen: Set<Digest> = []
    }
    /// What is being looked through.
    private struct Visit {
        let root: Marking.Root
        var isRead = false
        /// Trees that were not begun.
        var trees: ArraySlice<Digest> = []
        /// The one that was.
        var tree: Digest?
        /// The way into it: a depth-first walk with its own stack, as trees may be deep.
        var stack: [Level] = []
        /// Messages of permissions and times that were not looked at, the next one last.
        var attributes: [Digest] = []
    }
    /// A directory on the way, and how many of those in it were entered.
    private struct Level {
        let digest: Digest
        let children: [DirectoryNode]
        var next = 0
    }
    /// Whether the blob is reached from a directory, and by the first path.
    private enum Reach {
        case no
        case by([EntryName])
    }
    private static let rootsPerStep = 64
    private let repository: Repository
    private let domain: Domain
    private let digest: Digest
    private let entriesPerStep: Int
    /// What holds the blob as a chunk, and the blob itself.
    private let targets: Set<Digest>
    /// Trees that keep it because they are images that have it.
    private let imageTrees: Set<Digest>
    private let state: Mutex<State>

    /// A search for what keeps a blob; throws `notFound` where the store has none of that digest.
    package init(
        _ repository: Repository, _ digest: Digest, entriesPerStep: Int = 20_000, domain: Domain
    ) throws {
        self.repository = repository
        self.domain = domain
        self.digest = digest
        self.entriesPerStep = entriesPerStep
        (targets, imageTrees) = try RootSearch.targets(repository, digest, domain)
        var first = State(scan: RootScan(repository, domain: domain))
        first.progress.phase = "looking through what is kept"
        for name in ["roots", "found"] { first.progress.add(name, 0) }
        state = Mutex(first)
    }

    package var progress: MaintenanceProgress { state.withLock { $0.progress } }

    /// The blob, the blobs of which it is a chunk, and manifests that name them; and the trees of snapshots that are
    /// such images.
    private static func targets(
        _ repository: Repository, _ digest: Digest, _ domain: Domain
    ) throws -> (targets: Set<Digest>, trees: Set<Digest>) {
        try repository.catalog.read { reader in
            let images = try reader.derivedImages(naming: digest, limit: .max, domain: domain)
                .filter { $0.blobs.contains(digest) }
            guard try !images.isEmpty || reader.location(of: digest, domain: domain) != nil
            else {
                if let reason = try reader.purged([digest], domain: domain)[0] {
                    throw Repository.wasPurged(digest, reason)
                }
                throw CASError(
                    .notFound, "the store has nothing with this digest", digest: digest)
            }
            let blobs = Set([digest] + (try reader.blobs(ofChunk: digest, domain: domain)))
            return (
                try ImageReach.manifests(naming: blobs, reader, domain: domain),
                Set(images.map(\.tree))
            )
        }
    }

    package func step() throws -> Bool {
        try state.withLock { state in
            if state.waiting.isEmpty, state.visit == nil {
                let next = try repository.catalog.read {
                    try state.scan.next($0, limit: RootSearch.rootsPerStep)
                }
                guard let next else { return false }
                state.waiting = next[...]
                return true
            }
            var left = entriesPerStep
            try repository.view(domain) { reader in
                let source = try StoredDirectories(repository, reader, domain: domain)
                while left > 0, !state.waiting.isEmpty || state.visit != nil {
                    left -= try advance(source, &state)
                }
            }
            return true
        }
    }

    /// Looks at the next message, or goes on to what comes next; how many entries that were.
    ///
    /// What it reads it reads first: where that fails because something moved, it is called once more.
    private func advance(_ source: StoredDirectories, _ state: inout State) throws -> Int {
        guard let visit = state.visit else {
            state.visit = state.waiting.popFirst().map { Visit(root: $0) }
            return 1
        }
        if !visit.isRead { return try read(visit.root, source, &state) }
        if let top = visit.stack.last { return try descend(top, source, &state) }
        if let tree = visit.tree {
            if case .by(let path) = state.known[tree] {
                end(path, &state)
            } else {
                state.visit?.tree = nil
            }
            return 1
        }
        if let tree = visit.trees.first {
            if targets.contains(tree) || imageTrees.contains(tree) {
                end([], &state)
                return 1
            }
            let count = try enter(tree, source, &state)
            state.visit?.trees.removeFirst()
            state.visit?.tree = tree
            return count
        }
        guard let next = visit.attributes.last else {
            end(nil, &state)
            return 1
        }
        if targets.contains(next) {
            end([], &state)
            return 1
        }
        let below =
            state.seen.contains(next)
            ? [] : try source.attributes(next)?.directories.map(\.digest) ?? []
        state.seen.insert(next)
        state.visit?.attributes.removeLast()
        state.visit?.attributes += below
        return 1 + below.count
    }

    /// Finds the trees of a root.
    private func read(
        _ root: Marking.Root, _ source: StoredDirectories, _ state: inout State
    ) throws -> Int {
        if targets.contains(root.digest)
            || root.tree.map({ targets.contains($0) || imageTrees.contains($0) }) ?? false
        {
            end([], &state)
            return 1
        }
        var trees: [Digest] = root.tree.map { [$0] } ?? []
        if let snapshot = try source.snapshot(root.digest) {
            trees.append(snapshot.tree.digest)
            state.visit?.attributes = snapshot.attributes.map { [$0.digest] } ?? []
        } else if root.tree == nil, try source.isDirectory(root.digest) {
            trees.append(root.digest)
        }
        state.visit?.trees = trees[...]
        state.visit?.isRead = true
        return 1
    }

    /// Says how a root reaches the blob, or that it does not.
    private func end(_ path: [EntryName]?, _ state: inout State) {
        guard let root = state.visit?.root else { return }
        state.visit = nil
        state.progress.add("roots")
        guard let path else { return }
        state.progress.add("found")
        guard state.progress.findings.count < repository.limits.findings else { return }
        let text = path.map(\.description).joined(separator: "/")
        state.progress.findings.append(
            .init(root.kind, name: root.name, digest: root.digest, text: text))
    }

    /// Begins with a directory, unless it is known by now what it reaches.
    private func enter(
        _ digest: Digest, _ source: StoredDirectories, _ state: inout State
    ) throws -> Int {
        guard state.known[digest] == nil else { return 1 }
        guard let directory = try source.directory(digest) else {
            state.known[digest] = .no
            return 1
        }
        let (files, children) = (directory.files, directory.directories)
        if let file = files.first(where: { targets.contains($0.digest) }) {
            state.known[digest] = .by([file.name])
        } else if let child = children.first(where: { targets.contains($0.digest) }) {
            state.known[digest] = .by([child.name])
        } else {
            state.visit?.stack.append(Level(digest: digest, children: children))
        }
        return 1 + files.count + children.count
    }

    /// Goes into the next directory of one, or out of it with what is known then.
    private func descend(
        _ top: Level, _ source: StoredDirectories, _ state: inout State
    ) throws -> Int {
        if top.next > 0 {
            let child = top.children[top.next - 1]
            if case .by(let rest) = state.known[child.digest] {
                state.known[top.digest] = .by([child.name] + rest)
                state.visit?.stack.removeLast()
                return 1
            }
        }
        guard top.next < top.children.count else {
            state.known[top.digest] = .no
            state.visit?.stack.removeLast()
            return 1
        }
        let index = (state.visit?.stack.count ?? 1) - 1
        let count = try enter(top.children[top.next].digest, source, &state)
        state.visit?.stack[index].next += 1
        return count
    }
}

extension Repository {
    /// What is said of content that was removed for good, to who asks for it or brings it.
    static func wasPurged(
        _ digest: Digest, _ reason: String, isBrought: Bool = false
    ) -> CASError {
        CASError(
            .failedPrecondition, "this content was removed for good: \(reason)",
            hint: isBrought
                ? "leave it out, for example with 'exclude' in cas.yaml"
                : "nothing brings it back; cas log shows other versions, or push one without it",
            digest: digest)
    }
}
