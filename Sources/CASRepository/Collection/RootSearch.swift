import CASCatalog
package import CASCore
import CASTree
import CASWire
import Synchronization

/// Finds what keeps a blob: every ref, pin, history and fetch whose tree reaches it, and by which path.
///
/// Whether a directory reaches it is remembered, so that each is read once however many trees share it.
package final class RootSearch: MaintenanceTask {
    private struct State {
        var scan: RootScan
        var waiting: [Marking.Root] = []
        var isScanned = false
        var progress = MaintenanceProgress()
        var known: [Digest: Reach] = [:]
        /// Messages of permissions and times that do not reach it.
        var seen: Set<Digest> = []
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
    /// What holds the blob as a chunk, and the blob itself.
    private let targets: Set<Digest>
    private let state: Mutex<State>

    /// A search for what keeps a blob; throws `notFound` where the store has none of that digest.
    package init(_ repository: Repository, _ digest: Digest, domain: Domain) throws {
        self.repository = repository
        self.domain = domain
        self.digest = digest
        targets = try RootSearch.targets(repository, digest, domain)
        var first = State(scan: RootScan(repository, domain: domain))
        first.progress.phase = "looking through what is kept"
        for name in ["roots", "found"] { first.progress.add(name, 0) }
        state = Mutex(first)
    }

    package var progress: MaintenanceProgress { state.withLock { $0.progress } }

    /// The blob, and the blobs of which it is a chunk.
    private static func targets(
        _ repository: Repository, _ digest: Digest, _ domain: Domain
    ) throws -> Set<Digest> {
        try repository.catalog.read { reader in
            guard try reader.location(of: digest, domain: domain) != nil else {
                if let reason = try reader.purged([digest], domain: domain)[0] {
                    throw Repository.wasPurged(digest, reason)
                }
                throw CASError(
                    .notFound, "the store has nothing with this digest", digest: digest)
            }
            return Set([digest] + (try reader.blobs(ofChunk: digest, domain: domain)))
        }
    }

    package func step() throws -> Bool {
        try state.withLock { state in
            if state.waiting.isEmpty {
                let next = try repository.catalog.read {
                    try state.scan.next($0, limit: RootSearch.rootsPerStep)
                }
                guard let next else { return false }
                state.waiting = next
                return true
            }
            try repository.view(domain) { reader in
                let source = try StoredDirectories(repository, reader, domain: domain)
                for root in state.waiting { try look(root, source, &state) }
            }
            state.waiting = []
            return true
        }
    }

    private func look(
        _ root: Marking.Root, _ source: StoredDirectories, _ state: inout State
    ) throws {
        state.progress.add("roots")
        let path: [EntryName]?
        if targets.contains(root.digest) || root.tree.map({ targets.contains($0) }) ?? false {
            path = []
        } else {
            path = try find(root, source, &state)
        }
        guard let path else { return }
        state.progress.add("found")
        guard state.progress.findings.count < repository.limits.findings else { return }
        let text = path.map(\.description).joined(separator: "/")
        state.progress.findings.append(
            .init(root.kind, name: root.name, digest: root.digest, text: text))
    }

    private func find(
        _ root: Marking.Root, _ source: StoredDirectories, _ state: inout State
    ) throws -> [EntryName]? {
        var trees: [Digest] = root.tree.map { [$0] } ?? []
        var attributes: Digest?
        if let snapshot = try source.snapshot(root.digest) {
            trees.append(snapshot.tree.digest)
            attributes = snapshot.attributes?.digest
        } else if root.tree == nil {
            trees.append(root.digest)
        }
        for tree in trees {
            if targets.contains(tree) { return [] }
            if let path = try path(below: tree, source, &state) { return path }
        }
        if let attributes, try reaches(attributes, source, &state) { return [] }
        return nil
    }

    /// The path below a directory that leads to the blob; nil where none does.
    ///
    /// A depth-first walk with its own stack: trees may be deep.
    private func path(
        below root: Digest, _ source: StoredDirectories, _ state: inout State
    ) throws -> [EntryName]? {
        var stack: [(digest: Digest, directory: Directory, next: Int)] = []
        func enter(_ digest: Digest, _ state: inout State) throws {
            guard state.known[digest] == nil else { return }
            guard let directory = try source.directory(digest) else {
                state.known[digest] = .no
                return
            }
            if let file = directory.files.first(where: { targets.contains($0.digest) }) {
                state.known[digest] = .by([file.name])
            } else if let child = directory.directories.first(where: { targets.contains($0.digest) }
            ) {
                state.known[digest] = .by([child.name])
            } else {
                stack.append((digest, directory, 0))
            }
        }
        try enter(root, &state)
        while let top = stack.last {
            let index = stack.count - 1
            if top.next > 0 {
                let child = top.directory.directories[top.next - 1]
                if case .by(let rest) = state.known[child.digest] {
                    state.known[top.digest] = .by([child.name] + rest)
                    stack.removeLast()
                    continue
                }
            }
            guard top.next < top.directory.directories.count else {
                state.known[top.digest] = .no
                stack.removeLast()
                continue
            }
            stack[index].next += 1
            try enter(top.directory.directories[top.next].digest, &state)
        }
        guard case .by(let path) = state.known[root] else { return nil }
        return path
    }

    /// Whether messages of permissions and times reach the blob.
    private func reaches(
        _ root: Digest, _ source: StoredDirectories, _ state: inout State
    ) throws -> Bool {
        var stack = [root]
        while let digest = stack.popLast() {
            if targets.contains(digest) { return true }
            guard state.seen.insert(digest).inserted,
                let attributes = try source.attributes(digest)
            else { continue }
            stack += attributes.directories.map(\.digest)
        }
        return false
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
