import CASCatalog
import CASCore
import CASTestSupport
import CASWire
import Testing

@testable import CASRepository

/// A fixed sequence of uploads and manifests, and what of it was acknowledged.
private struct ImageScript {
    static let name = "team/image"
    let blobs: [[UInt8]]
    /// The blobs that each manifest names.
    let manifests: [(text: String, blobs: [Int])] = [("one", [0, 1]), ("two", [1, 2])]
    private(set) var uploaded: Set<Int> = []
    private(set) var put: Set<Int> = []

    init() {
        var random = SeededGenerator(seed: 7)
        blobs = [random.bytes(9_000), random.bytes(300), random.bytes(5_000)]
    }

    func digest(_ index: Int) -> Digest { Digest.of(blobs[index]) }
    func manifest(_ index: Int) -> Digest { Digest.of(Array(manifests[index].text.utf8)) }

    /// Does what was not acknowledged yet; an error ends one step and no other.
    mutating func run(_ repository: Repository) -> [any Error] {
        var errors: [any Error] = []
        for index in blobs.indices where !uploaded.contains(index) {
            do {
                try repository.uploadBlob(blobs[index], to: Self.name, pieces: [4_000, 700])
                uploaded.insert(index)
            } catch {
                errors.append(error)
            }
        }
        for index in manifests.indices where !put.contains(index) {
            do {
                let result = try repository.put(
                    Self.name, manifests[index].text, tags: ["latest", "v\(index)"],
                    blobs: manifests[index].blobs.map(digest))
                if result == .done(manifest(index)) { put.insert(index) }
            } catch {
                errors.append(error)
            }
        }
        return errors
    }

    /// What was acknowledged is there; what was not is whole or absent.
    func check(_ repository: Repository, _ comment: Comment) throws {
        for index in blobs.indices {
            let link = try repository.link(Self.name, digest(index), domain: .standard)
            #expect(link != nil || !uploaded.contains(index), comment)
            guard link != nil else { continue }
            #expect(try repository.blobBytes(digest(index)) == blobs[index], comment)
        }
        for index in manifests.indices {
            let tag = try repository.ref(
                try RefName(name: Self.name, tag: "v\(index)"), domain: .standard)
            #expect(tag != nil || !put.contains(index), comment)
            let link = try repository.link(Self.name, manifest(index), domain: .standard)
            // A rebuild may find the first events of a commit that nobody was told of.
            #expect(tag == nil || link != nil, comment)
            guard tag != nil else { continue }
            #expect(tag?.target.digest == manifest(index), comment)
            #expect(
                try repository.blobBytes(manifest(index)) == Array(manifests[index].text.utf8),
                comment)
            for blob in manifests[index].blobs {
                #expect(try repository.blobBytes(digest(blob)) == blobs[blob], comment)
            }
        }
    }
}

/// Uploads and manifests when any operation fails, or the power goes.
@Suite struct ImageFaultTests {
    private static let failure = CASError(.unavailable, "injected")

    private func count(_ place: FaultWorld.Place) throws -> Int {
        let world = FaultWorld(place)
        world.fileSystem.inject(.powerCut, at: .max)
        var script = ImageScript()
        let repository = try world.open()
        #expect(script.run(repository).isEmpty)
        try repository.close()
        return world.fileSystem.operationCount
    }

    @Test(arguments: [FaultWorld.Place.directory, .objects])
    func `goes on after any single operation failed`(_ place: FaultWorld.Place) throws {
        let count = try count(place)
        #expect(count > 20)
        for number in 1...count {
            let comment: Comment = "operation \(number) of \(count) failed, \(place)"
            let world = FaultWorld(place)
            world.fileSystem.inject(.error(Self.failure), at: number)
            var script = ImageScript()
            do {
                let repository = try world.open()
                _ = script.run(repository)
                try script.check(repository, comment)
                try? repository.close()
                world.catalog.reopen()
            } catch is CASError {}
            let dead = world.afterProcessDeath()
            try script.check(try FaultWorld(copying: dead).rebuilt().repository, comment)
            let repository = try dead.open()
            try script.check(repository, comment)
            #expect(script.run(repository).isEmpty, comment)
            try script.check(repository, comment)
        }
    }

    @Test(arguments: [FaultWorld.Place.directory, .objects])
    func `what was acknowledged outlives a power cut at any operation`(
        _ place: FaultWorld.Place
    ) throws {
        let count = try count(place)
        for number in 1...count {
            let comment: Comment = "power cut at \(number) of \(count), \(place)"
            let world = FaultWorld(place)
            world.fileSystem.inject(.powerCut, at: number)
            var script = ImageScript()
            do { _ = script.run(try world.open()) } catch is CASError {}
            let dead = world.afterPowerCut(seed: UInt64(number))
            if !dead.isEmpty {
                try script.check(try FaultWorld(copying: dead).rebuilt().repository, comment)
            }
            let repository = try dead.open()
            try script.check(repository, comment)
            #expect(script.run(repository).isEmpty, comment)
            try script.check(repository, comment)
        }
    }
}
