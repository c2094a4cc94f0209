import CASCatalog
import CASCore
import CASPack
import Synchronization

/// An upload that this process has in memory: its hash goes on where it was.
///
/// Worked on by one thread at a time, who took it from `OpenUploads`; `@unchecked Sendable` for that.
final class OpenUpload: @unchecked Sendable {
    let identifier: Identifier
    let name: String
    let session: PushSession
    let ingest: BlobIngest
    /// How many of the terms the catalog has.
    var storedTerms = 0
    /// Whether the catalog has other terms, of another program, which have to go first.
    var isRecut = false

    init(_ repository: Repository, _ entry: UploadEntry, _ domain: Domain) {
        identifier = entry.identifier
        name = entry.name
        session = PushSession(
            identifier: entry.identifier, domain: domain,
            now: repository.clock.monotonicNanoseconds())
        ingest = BlobIngest(repository, session)
    }
}

/// Uploads that this process works on, and some that rest, so that going on costs nothing.
final class OpenUploads: Sendable {
    /// Uploads that rest in memory at most: each keeps a term for each of its chunks.
    static let maximumResting = 16
    private static let maximumWrong = 10_000

    private struct Busy {
        let name: String
        /// nil before it is in memory.
        var upload: OpenUpload?
    }
    private struct State {
        /// Those that are being worked on.
        var busy: [Identifier: Busy] = [:]
        /// The one that rests longest first.
        var resting: [OpenUpload] = []
        /// How often uploads were closed with a digest that is not theirs.
        var wrong: [Identifier: Int] = [:]
    }
    private let state = Mutex(State())

    /// Sessions of all of them.
    var sessions: [PushSession] {
        state.withLock { state in
            state.busy.values.compactMap { $0.upload?.session } + state.resting.map(\.session)
        }
    }

    /// Bytes of memory that those keep which rest, each beside its terms.
    var restingBytes: [Int] {
        state.withLock { state in state.resting.map(\.ingest.heldBytes) }
    }

    /// Whether an upload is being worked on.
    func isBusy(_ identifier: Identifier) -> Bool {
        state.withLock { $0.busy[identifier] != nil }
    }

    /// Takes an upload, for nobody else to have; nil where it is not in memory.
    ///
    /// Throws `aborted` where somebody has it, `unavailable` for too many, of which one name has half at most.
    func take(_ identifier: Identifier, to name: String, limit: Int) throws -> OpenUpload? {
        try state.withLock { state in
            guard state.busy[identifier] == nil else {
                throw CASError(
                    .aborted, "another request writes to this upload",
                    hint: "wait until it has ended, then ask how far it came")
            }
            guard state.busy.count < limit else {
                throw CASError(
                    .unavailable, "too many uploads are in progress", hint: "try again in a minute")
            }
            guard state.busy.values.count(where: { $0.name == name }) < max(1, limit / 2) else {
                throw CASError(
                    .unavailable, "too many uploads to '\(name)' are in progress",
                    hint: "try again in a minute")
            }
            let index = state.resting.firstIndex { $0.identifier == identifier }
            let upload = index.map { state.resting.remove(at: $0) }
            state.busy[identifier] = Busy(name: name, upload: upload)
            return upload
        }
    }

    /// Says what was read into memory for an upload that was taken.
    func opened(_ upload: OpenUpload) {
        state.withLock { $0.busy[upload.identifier]?.upload = upload }
    }

    /// Gives an upload back that was taken, once; it rests, unless nothing of it is to be used again.
    func release(_ identifier: Identifier, resting upload: OpenUpload?) {
        upload?.ingest.rest()
        state.withLock { state in
            state.busy[identifier] = nil
            guard let upload else { return }
            state.resting.append(upload)
            if state.resting.count > OpenUploads.maximumResting { state.resting.removeFirst() }
        }
    }

    /// Counts a wrong digest that an upload was closed with; how many that were, as far as is remembered.
    func noteWrongDigest(_ identifier: Identifier) -> Int {
        state.withLock { state in
            if state.wrong.count >= OpenUploads.maximumWrong { state.wrong = [:] }
            state.wrong[identifier, default: 0] += 1
            return state.wrong[identifier, default: 0]
        }
    }

    /// Forgets an upload that rests or is over.
    func forget(_ identifier: Identifier) {
        state.withLock { state in
            state.resting.removeAll { $0.identifier == identifier }
            state.wrong[identifier] = nil
        }
    }
}
