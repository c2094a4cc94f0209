import CASClient
import CASCore
import CASFileSystem
import CASRepository
import CASTestSupport
import CASWire
import NIOPosix
import Testing

@testable import CASHTTP

/// Images of snapshots that another store asks for.
@Suite struct DerivingTests {
    private struct EverybodyMayRead: AccessControl {
        func caller(_ origin: RequestOrigin) -> Caller { Caller(scopes: []) }
        func caller(of token: Identifier) -> Caller { Caller(scopes: []) }
        func check(_ origin: RequestOrigin) {}
    }

    @Test func `an image that a store asks for waits its turn, and is asked for again`()
        async throws
    {
        let name = try RefName("team/a")
        let temporary = try TemporaryDirectory()
        let store = try LocalStore(directory: "\(temporary.path)/store", create: true)
        try DiskFileSystem().createDirectory("\(temporary.path)/work")
        try DiskFileSystem().replace("\(temporary.path)/work/file", [1, 2, 3])
        try await onThread {
            _ = try Push.run(
                PushOptions(directory: "\(temporary.path)/work", ref: name, workers: 1),
                connection: store, counters: ProgressCounters())
        }
        let repository = store.repository
        let door = Door(
            repository: repository, access: EverybodyMayRead(), metrics: ServerMetrics(),
            pool: .singleton)
        let rights = Rights(Caller(scopes: [try TokenScope("read")]))
        let entry = try #require(try repository.ref(name, domain: .standard))
        // Somebody pulls another image at the door of the registry.
        let gate = AsyncStream<Void>.makeStream()
        let other = SharedResources.ImageKey(snapshot: .zero, options: "")
        let isMade: Void? = try await door.shared.images.answer(other, within: 0) {
            for await _ in gate.stream { break }
        }
        #expect(isMade == nil)
        let early = try await door.images(of: name, Query("derive=1&wait=0"), rights)
        #expect(early.isUnfinished && early.derived == nil)
        #expect(try !repository.isDerived(entry, domain: .standard))
        // Who does not ask for it waits for nothing.
        let plain = try await door.images(of: name, Query(nil), rights)
        #expect(!plain.isUnfinished && plain.derived == nil)
        gate.continuation.finish()
        let late = try await door.images(of: name, Query("derive=1"), rights)
        #expect(!late.isUnfinished && late.derived != nil)
        #expect(try repository.isDerived(entry, domain: .standard))
        try store.close()
    }

    @Test func `a client asks again until the image is there`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.write("file", content(seed: 1, count: 100_000))
            try world.withRemote { store in
                try world.push("team/a", store)
                let images = try store.images(of: try RefName("team/a"), derives: true)
                #expect(images.derived != nil && !images.isUnfinished)
                #expect(try store.images(of: try RefName("team/a"), derives: false) == images)
            }
        }
    }
}
