import CASCore
import CASFileSystem
import CASOCI
import CASTestSupport
import CASWire
import Glibc
import Synchronization
import Testing

@testable import CASRepository

/// What others did, in order.
private final class LockedLog: Sendable {
    private let state = Mutex<[String]>([])

    var lines: [String] { state.withLock { $0 } }

    func add(_ line: String) { state.withLock { $0.append(line) } }
}

/// What images and workspaces have in common, and what keeps what is made of trees.
@Suite struct ImageSharesTests {
    private func run(_ task: any MaintenanceTask) throws -> MaintenanceProgress {
        while try task.step() {}
        return task.progress
    }

    @Test func `bytes of images that workspaces have are told from those that only images have`()
        throws
    {
        let store = try TestStore()
        let repository = store.repository
        let empty = try run(ImageShares(repository, domain: .standard))
        #expect(empty.figures.allSatisfy { $0.value == 0 })
        var random = SeededGenerator(seed: 5)
        let shared = random.bytes(20_000)
        let own = random.bytes(500)
        try repository.uploadBlob(shared, to: "team/app")
        try repository.uploadBlob(own, to: "team/app")
        try repository.uploadBlob(own, to: "team/again")
        let before = try run(ImageShares(repository, domain: .standard))
        #expect(before["imageBlobs"] == 2 && before["imageBytes"] == 20_500)
        #expect(before["distinctBytes"] == 20_500 && before["sharedBytes"] == 0)
        var root = SampleFolder()
        root.files["large"] = SampleFolder.File(content: shared, isExecutable: false)
        root.folders["deep"] = root
        try repository.push(try SampleTree(root), to: "team/project")
        let after = try run(ImageShares(repository, domain: .standard))
        #expect(after["distinctBytes"] == 20_500 && after["sharedBytes"] == 20_000)
        #expect(after["madeLayers"] == 0)
        #expect(try repository.usage(domain: .standard).hasImages)
        let image = try PulledImage(repository, "team/project")
        let made = try run(ImageShares(repository, domain: .standard))
        #expect(made["madeLayers"] == UInt64(Set(image.layerDigests).count))
        #expect(made["madeBytes"] >= 40_000)
        // A file in several chunks, and one that is a chunk of an image, each once.
        try repository.push(try SampleTree(root), to: "team/other")
        #expect(try run(ImageShares(repository, domain: .standard))["sharedBytes"] == 20_000)
        root.files["small"] = SampleFolder.File(content: own, isExecutable: false)
        try repository.push(try SampleTree(root), to: "team/other")
        #expect(try run(ImageShares(repository, domain: .standard))["sharedBytes"] == 20_500)
        try repository.removeRef(
            try RefName("team/project"), .any, Provenance(), domain: .standard)
        try repository.removeRef(
            try RefName("team/other"), .any, Provenance(), domain: .standard)
        #expect(try !repository.usage(domain: .standard).rows.contains { $0.refs > 0 })
    }

    /// Work that goes on until other work has begun, or for so many steps.
    private final class Work: MaintenanceTask {
        let progress = MaintenanceProgress()
        private let log: LockedLog
        private let steps: Mutex<Int>
        private let end: SharedResult<Void>

        init(_ log: LockedLog, steps: Int, end: SharedResult<Void>) {
            self.log = log
            self.steps = Mutex(steps)
            self.end = end
        }

        func step() -> Bool {
            sched_yield()
            let isLast = steps.withLock { steps in
                steps -= 1
                return steps <= 0
            }
            guard isLast || log.lines.contains("second began") else { return true }
            log.add("ended")
            end.set(.success(()))
            return false
        }
    }

    /// Whether two pieces of work of a kind are done at the same time.
    private func areDoneAtOnce(_ kind: MaintenanceKind, steps: Int) throws -> Bool {
        let jobs = MaintenanceJobs(findings: 10)
        let log = LockedLog()
        let ends = [SharedResult<Void>(), SharedResult<Void>()]
        let begun = SharedResult<Void>()
        _ = try jobs.start(.random(), kind) {
            begun.set(.success(()))
            return Work(log, steps: steps, end: ends[0])
        }
        // Whose thread runs first is nobody's promise.
        try begun.get()
        _ = try jobs.start(.random(), kind) {
            log.add("second began")
            return Work(log, steps: steps, end: ends[1])
        }
        for end in ends { try end.get() }
        jobs.close()
        return log.lines.first == "second began"
    }

    @Test func `of this question one is answered at a time`() async throws {
        try await onThread {
            let questions = try areDoneAtOnce(.why, steps: .max)
            let shares = try areDoneAtOnce(.shares, steps: 20_000)
            #expect(questions && !shares)
        }
    }

    @Test func `what keeps a layer is the workspace that it is made of, and who names it`() throws {
        let store = try TestStore()
        let repository = store.repository
        try repository.push(try DerivationTests.fixture(), to: "team/a")
        let image = try PulledImage(repository, "team/a")
        guard case .sha256(let layer) = image.manifest.layers[0].digest,
            case .sha256(let config) = image.manifest.config.digest
        else { return }
        func keepers(_ digest: Digest) throws -> [String] {
            try run(RootSearch(repository, digest, domain: .standard)).findings.map {
                "\($0.kind) \($0.name)"
            }
        }
        for digest in [layer, config, image.digest] {
            #expect(try keepers(digest).contains("ref team/a:latest"))
        }
        // A manifest of an image finds the snapshot.
        let found = try repository.resolve(.digest(image.digest, name: nil), domain: .standard)
        #expect(
            found.snapshot
                == (try repository.ref(try RefName("team/a"), domain: .standard))?.target.digest)
        let told = #expect(throws: CASError.self) {
            try repository.plan(
                PlanRequest(want: "team/a@\(image.digest)"), domain: .standard)
        }
        #expect(told?.hint?.contains("team/a@\(found.snapshot)") == true)
        #expect(
            try repository.mount(layer, from: "team/a", to: "team/b", domain: .standard))
        _ = try repository.put("team/b", "{}", tags: ["v1"], blobs: [layer])
        #expect(
            Set(try keepers(layer)).isSuperset(
                of: ["ref team/a:latest", "ref team/b:v1", "link team/b"]))
        let named = try #require(
            try repository.ref(try RefName("team/b:v1"), domain: .standard)?.target.digest)
        let error = #expect(throws: CASError.self) {
            try repository.resolve(.digest(named, name: nil), domain: .standard)
        }
        #expect(error?.code == .failedPrecondition && error?.hint?.contains("podman") == true)
        #expect(throws: CASError.self) {
            try RootSearch(repository, Digest.of([1, 2]), domain: .standard)
        }
    }
}
