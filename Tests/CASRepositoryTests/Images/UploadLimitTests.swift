import CASCatalog
import CASCore
import CASOCI
import CASPack
import CASTestSupport
import CASWire
import Testing

@testable import CASRepository

/// What uploads may take of a store and its memory, and how their ends go.
@Suite struct UploadLimitTests {
    private static let name = "team/image"

    @Test func `what has expired makes room for new uploads, and no name takes all`() throws {
        let store = try TestStore {
            $0.limits.concurrentUploads = 6
            $0.limits.uploadsPerName = 4
        }
        for _ in 0..<4 { _ = try store.repository.beginUpload(Self.name, domain: .standard) }
        #expect(
            try code { _ = try store.repository.beginUpload(Self.name, domain: .standard) }
                == .resourceExhausted)
        for _ in 0..<2 { _ = try store.repository.beginUpload("team/other", domain: .standard) }
        #expect(
            try code { _ = try store.repository.beginUpload("team/third", domain: .standard) }
                == .resourceExhausted)
        store.clock.advance(
            nanoseconds: (store.repository.limits.uploadSeconds + 1) * 1_000_000_000)
        for _ in 0..<4 { _ = try store.repository.beginUpload(Self.name, domain: .standard) }
    }

    @Test func `no name takes all that may be written at once`() throws {
        let repository = try TestStore { $0.limits.concurrentPushes = 4 }.repository
        let identifiers = try (0..<5).map {
            try repository.beginUpload($0 < 3 ? Self.name : "team/other", domain: .standard)
        }
        func writer(_ index: Int) throws -> UploadWriter {
            try repository.append(
                index < 3 ? Self.name : "team/other", identifiers[index], at: 0, domain: .standard)
        }
        let writers = try [writer(0), writer(1)]
        #expect(try code { _ = try writer(2) } == .unavailable)
        let others = try [writer(3), writer(4)]
        for writer in writers + others { writer.abandon() }
        try writer(2).abandon()
    }

    @Test func `wrong digests again and again end an upload`() throws {
        let repository = try TestStore().repository
        for isWriting in [false, true] {
            let identifier = try repository.beginUpload(Self.name, domain: .standard)
            try repository.appendBlob([1, 2, 3], to: Self.name, identifier)
            for attempt in 1...repository.limits.wrongDigestsPerUpload {
                #expect(
                    try repository.uploadStatus(Self.name, identifier, domain: .standard) == 3)
                let expected = ExpectedDigest.sha256(Digest.of([UInt8(attempt)]))
                #expect(
                    try code {
                        guard isWriting else {
                            _ = try repository.finishUpload(
                                Self.name, identifier, expecting: expected, domain: .standard)
                            return
                        }
                        let writer = try repository.append(
                            Self.name, identifier, at: 3, domain: .standard)
                        _ = try writer.finish(expecting: expected)
                    } == .invalidArgument)
            }
            #expect(try repository.uploadStatus(Self.name, identifier, domain: .standard) == nil)
        }
    }

    @Test func `what a request wrote is finished with it, or not at all`() throws {
        let repository = try TestStore().repository
        let bytes = content(30_000)
        let identifier = try repository.beginUpload(Self.name, domain: .standard)
        try repository.appendBlob(Array(bytes[..<10_000]), to: Self.name, identifier)
        for expected in [Digest.of([1]), Digest.of(bytes)] {
            let writer = try repository.append(
                Self.name, identifier, at: 10_000, domain: .standard)
            try bytes[10_000...].withUnsafeBytes { try writer.write($0) }
            let commits = repository.counters.commits
            if expected == Digest.of(bytes) {
                #expect(try writer.finish(expecting: .sha256(expected)) == expected)
                #expect(repository.counters.commits == commits + 1)
            } else {
                #expect(
                    try code { _ = try writer.finish(expecting: .sha256(expected)) }
                        == .invalidArgument)
                #expect(
                    try repository.uploadStatus(Self.name, identifier, domain: .standard)
                        == 10_000)
            }
            #expect(
                try code { _ = try writer.checkpoint() } == .failedPrecondition, "it has ended")
        }
        #expect(try repository.blobBytes(Digest.of(bytes)) == bytes)
    }

    private func content(_ count: Int) -> [UInt8] {
        var random = SeededGenerator(seed: UInt64(count))
        return random.bytes(count)
    }

    @Test func `uploads that rest keep little memory`() throws {
        let repository = try TestStore { $0.packBytes = 64 << 20 }.repository
        let bytes = content(3_000_000)
        var identifiers: [Identifier] = []
        for number in 0..<OpenUploads.maximumResting + 4 {
            identifiers.append(try repository.beginUpload(Self.name, domain: .standard))
            try repository.appendBlob(
                [UInt8(number)] + bytes, to: Self.name, identifiers[number])
        }
        let kept = repository.uploads.restingBytes
        #expect(kept.count == OpenUploads.maximumResting)
        #expect(kept.allSatisfy { $0 < 64 << 10 }, "\(kept)")
        // They go on, in memory or not.
        for number in [0, identifiers.count - 1] {
            try repository.appendBlob(bytes, to: Self.name, identifiers[number])
            let whole = [UInt8(number)] + bytes + bytes
            #expect(
                try repository.finishUpload(
                    Self.name, identifiers[number], expecting: .sha256(Digest.of(whole)),
                    domain: .standard) == Digest.of(whole))
        }
    }

    @Test func `what was compressed already is stored as it is`() throws {
        for (magic, codec) in [
            ([0x1f, 0x8b, 0x08, 0x00], FrameCodec.raw), ([0x28, 0xb5, 0x2f, 0xfd], .raw),
            ([0x1f, 0x8b, 0x07, 0x00], .zstd),
        ] {
            let store = try TestStore()
            let bytes = magic.map { UInt8($0) } + [UInt8](repeating: 0, count: 40_000)
            for pieces in [[], [1, 1, 20_000]] {
                let digest = try store.repository.uploadBlob(bytes, to: Self.name, pieces: pieces)
                #expect(try store.repository.blobBytes(digest) == bytes)
            }
            let chunks = try store.repository.catalog.read {
                try $0.locations(after: nil, limit: 99, domain: .standard)
            }.filter { $0.location.kind == .chunk }
            #expect(!chunks.isEmpty && chunks.allSatisfy { $0.location.codec == codec })
        }
    }

    @Test(arguments: Storage.allCases)
    func `a damaged part of a blob is not served`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let bytes = content(40_000)
        let digest = try store.repository.uploadBlob(bytes, to: Self.name)
        for pack in try store.packs() {
            try store.change(pack) { pack in
                for place in stride(from: 200, to: pack.count, by: 1_000) { pack[place] ^= 1 }
            }
        }
        #expect(try code { _ = try store.repository.blobBytes(digest) } == .dataLoss)
    }
}
