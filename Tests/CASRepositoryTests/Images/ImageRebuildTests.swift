import CASCore
import CASTestSupport
import Testing

@testable import CASRepository

/// Images after the index was made anew.
@Suite struct ImageRebuildTests {
    private static let name = "team/image"

    @Test(arguments: Storage.allCases)
    func `what somebody was told to be here stays after a rebuild`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let blob = [UInt8](repeating: 3, count: 900)
        try store.repository.uploadBlob(blob, to: Self.name)
        store.clock.advance(nanoseconds: 3 * 86_400_000_000_000)
        // Uploaded again, so that the link is as old as before and relied on now.
        let digest = try store.repository.uploadBlob(blob, to: Self.name)
        _ = try store.rebuild()
        try store.repository.collectAll()
        try store.repository.collectAll()
        #expect(try store.repository.hasLink(Self.name, digest))
        #expect(
            try store.repository.put(Self.name, "one", tags: ["a"], blobs: [digest])
                == .done(Digest.of(Array("one".utf8))))
    }
}
