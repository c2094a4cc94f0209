import CASClient
import CASCore
import CASOCI
import CASTestSupport
import CASWire
import CASWorkspace
import Synchronization
import Testing

@testable import CASImage

@Suite struct LayerWriterTests {
    private static let files: [String: [UInt8]] = [
        "a": [UInt8](repeating: 1, count: 5_000), "b": [UInt8](repeating: 2, count: 6_000),
        "c": [UInt8](repeating: 3, count: 7_000),
        "large": (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) },
    ]

    /// What a writer makes of the files of a store whose first answers break after so many bytes each.
    private func write(
        _ files: [[UInt8]], from store: LocalStore, breaks: [Int]
    ) throws -> (written: [UInt8], asked: [Int]) {
        var written: [UInt8] = []
        var asked: [Int] = []
        var writer = LayerWriter({ digests, sink in
            asked.append(digests.count)
            guard asked.count <= breaks.count else { return try store.readBlobs(digests, sink) }
            var room = breaks[asked.count - 1]
            try store.readBlobs(digests) { bytes in
                let part = UnsafeRawBufferPointer(rebasing: bytes.prefix(room))
                room -= part.count
                if !part.isEmpty { try sink(part) }
                if room == 0 { throw CASError(.unavailable, "the connection was closed") }
            }
        }) { written += $0 }
        for file in files { try writer.file(Digest.of(file), size: UInt64(file.count)) }
        try writer.flush()
        return (written, asked)
    }

    @Test func `files of a store whose connection breaks are asked for again, small ones too`()
        throws
    {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", Self.files)
        let small = ["a", "b", "c"].compactMap { Self.files[$0] }
        let large = try #require(Self.files["large"])
        let whole = try write(small, from: world.store, breaks: [])
        #expect(whole.written == small.flatMap { $0 } && whole.asked == [3])
        // Before anything came, within the first file, and behind it.
        for place in [0, 1, 150] {
            let found = try write(small, from: world.store, breaks: [place, 0])
            #expect(found.written == whole.written, "\(place)")
            #expect(found.asked.count == 3, "\(place)")
        }
        let found = try write(small + [large], from: world.store, breaks: [100, 100_000, 200_000])
        #expect(found.written == whole.written + large)
    }

    @Test func `one that breaks again and again is given up, for all above too`() throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", Self.files)
        let small = ["a", "b", "c"].compactMap { Self.files[$0] }
        let error = #expect(throws: CASError.self) {
            _ = try write(small, from: world.store, breaks: .init(repeating: 1, count: 100))
        }
        #expect(error?.code == .unavailable)
        #expect(error?.isPassing == false)
    }

    @Test func `a ref that moves while an image is built changes nothing of it`() throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", ["main.py": [1]])
        let first = try #require(try world.store.ref(try RefName("team/src")))
        let origin = try WorkspaceOrigin([try Reference("team/src")], world.store)
        try world.push("team/src", ["main.py": [2]])
        #expect(try world.store.ref(try RefName("team/src"))?.target != first.target)
        let layers = try WorkspaceLayers(
            origin.paths[0], shown: "team/src:latest", from: world.store,
            options: try LayerOptions(), compression: .none, memory: nil, temporaryDirectory: nil,
            maximumLayers: 64)
        #expect(layers.snapshot == first.target.digest)
        #expect(origin.newest == first.provenance)
        #expect(layers.layers.allSatisfy { $0.title.hasSuffix(" of team/src:latest") })
        // What no ref names is left as it was written.
        let digest = "sha256:\(String(repeating: "0", count: 64))"
        #expect(
            try WorkspaceOrigin(
                [try Reference(digest), try Reference("team/absent")], world.store
            ).paths == [try Reference(digest).path, try Reference("team/absent").path])
    }
}
