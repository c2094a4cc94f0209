import CASCatalog
import CASCore
import CASFileSystem
import CASStorage
import Synchronization

/// Hands sealed packs to the object backend, beside the pushes and never in their way.
///
/// A pack comes here once the catalog says that it is sealed, and so durable in a local file that nobody
/// changes any more. It is put, then recorded as stored, and only then is the local file removed: a crash
/// between any two of these leaves what the next open finishes. A pack whose put fails goes on waiting;
/// the next one that is sealed, and every commit, makes another attempt.
final class PackTransfer: Sendable {
    private let catalog: any Catalog
    private let files: PackFiles
    private let objects: any ObjectBackend
    private let counters: StoreCounters
    private let isInBackground: Bool

    private struct State {
        /// Numbers of packs, the next one first.
        var waiting: [Int64] = []
        var thread: WorkerThread?
        var isFinished = false
        /// Whether `signals` holds one that nobody took.
        var isSignalled = false
    }
    private let state = Mutex(State())
    private let signals = BoundedQueue<Void>(capacity: 2)
    /// Held by whoever transfers.
    private let turn = Mutex(())

    init(
        catalog: any Catalog, files: PackFiles, objects: any ObjectBackend,
        counters: StoreCounters, isInBackground: Bool
    ) {
        self.catalog = catalog
        self.files = files
        self.objects = objects
        self.counters = counters
        self.isInBackground = isInBackground
    }

    deinit { signals.close() }

    /// Packs that wait.
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// Adds sealed packs and sees to it that an attempt is made at everything that waits.
    func add(_ numbers: [Int64]) {
        state.withLock { state in
            state.waiting += numbers.filter { !state.waiting.contains($0) }
            guard isInBackground, !state.waiting.isEmpty, !state.isFinished else { return }
            do {
                if state.thread == nil { state.thread = try startThread() }
                if !state.isSignalled { try signals.put(()) }
                state.isSignalled = true
            } catch {
                // Without a thread the packs wait, safe where they are, until one can be started or the
                // store is closed.
            }
        }
    }

    private func startThread() throws -> WorkerThread {
        try WorkerThread(name: "cas-store") { [signals, weak self] in
            while try signals.take() != nil {
                guard let self else { return }
                state.withLock { $0.isSignalled = false }
                do {
                    try run()
                } catch {
                    // Counted by the backend's decorator; what failed goes on waiting.
                }
            }
        }
    }

    /// Ends the thread, after a last attempt at everything that waits.
    ///
    /// What can not be handed over now is as durable as before, and the next open goes on with it.
    func finish() {
        let thread = state.withLock { state in
            state.isFinished = true
            return state.thread.take()
        }
        signals.close()
        // Neither failure loses anything, see above.
        try? thread?.join()
        try? run()
    }

    /// Transfers every pack that waits now; throws what the last one failed with.
    func run() throws {
        try turn.withLock { _ in
            var done: [PackEntry] = []
            var failure: (any Error)?
            for number in state.withLock({ $0.waiting }) {
                do {
                    if let entry = try put(number) { done.append(entry) }
                } catch {
                    failure = error
                    // Others first next time, should it be this pack's own fault.
                    state.withLock { state in
                        state.waiting.removeAll { $0 == number }
                        state.waiting.append(number)
                    }
                    // An hour of pauses before each of a hundred packs would help nobody.
                    if (error as? CASError)?.code.isTransient ?? false { break }
                }
            }
            try complete(done)
            if let failure { throw failure }
        }
    }

    /// Makes a pack an object; nil if there is nothing to do for it any more.
    private func put(_ number: Int64) throws -> PackEntry? {
        guard let entry = try catalog.read({ try $0.pack(number) }), !entry.isStored,
            let file = try files.open(entry.identifier)
        else {
            state.withLock { state in state.waiting.removeAll { $0 == number } }
            return nil
        }
        defer { file.close() }
        let size = try file.size()
        let source = ObjectSource(path: files.path(entry.identifier), file: file)
        if try !objects.put(entry.identifier, source) {
            try checkEarlierPut(entry.identifier, size)
        }
        counters.add(storedPack: size)
        return entry
    }

    /// Makes sure that an object which was there already is as long as the pack, at least.
    private func checkEarlierPut(_ name: Identifier, _ size: UInt64) throws {
        let buffer = ReusableBuffer()
        buffer.resize(to: 2)
        guard size > 0, try objects.read(name, at: size - 1, into: buffer.mutableBytes) == 1 else {
            throw CASError(
                .dataLoss, "an object with the name of a pack is not that pack",
                hint: "move it away; the store then puts the pack there",
                path: objects.place(of: name))
        }
    }

    private func complete(_ packs: [PackEntry]) throws {
        guard !packs.isEmpty else { return }
        try catalog.write { transaction in
            // One that was lost for another reason meanwhile is not the catalog's any more.
            for pack in packs where try transaction.pack(pack.number) != nil {
                try transaction.markStored(pack: pack.number)
            }
        }
        let numbers = Set(packs.map(\.number))
        state.withLock { state in state.waiting.removeAll { numbers.contains($0) } }
        for pack in packs { files.moved(pack.number, pack.identifier) }
        // What can not be removed now goes when the store is opened again. Durably: once collection has
        // removed such a pack from the catalog too, nobody would know a file that came back.
        for pack in packs { try files.remove(pack.identifier) }
        try files.synchronizeNames()
    }
}
