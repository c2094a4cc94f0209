import CASCompression
import CASCore
import CASOCI
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// Uploads of blobs: in any number of requests, over restarts, cancelled, expired.
@Suite struct UploadTests {
    private static let name = "team/image"

    @Test(arguments: Storage.allCases)
    func `a blob is what was uploaded, however it was split`(_ storage: Storage) throws {
        var random = SeededGenerator(seed: 11)
        let store = try TestStore(storage)
        for length in [0, 1, 100, 4_096, 4_097, 50_000] {
            let bytes = random.bytes(length)
            let digest = try store.repository.uploadBlob(
                bytes, to: Self.name, pieces: [length / 3, 1, 0, length / 7])
            #expect(digest == Digest.of(bytes))
            #expect(try store.repository.blobBytes(digest) == bytes)
            let link = try store.repository.link(Self.name, digest, domain: .standard)
            #expect(link?.size == UInt64(length) && link?.kind == .blob)
            #expect(try !store.repository.hasLink("team/other", digest))
        }
        #expect(
            try store.repository.repositories(after: nil, limit: 9, domain: .standard) == [
                Self.name
            ])
        try store.reopen()
        let links = try store.repository.links(
            Self.name, kind: .blob, after: nil, limit: 99, domain: .standard)
        #expect(links.count == 6)
    }

    @Test func `random splits and restarts make the same blob, of a workspace's chunks`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        for _ in 0..<12 {
            let store = try TestStore()
            let bytes = random.bytes(Int.random(in: 0...60_000, using: &random))
            var folder = SampleFolder()
            folder.files["large"] = SampleFolder.File(content: bytes)
            try store.repository.push(try SampleTree(folder), to: "team/files")
            let before = try store.repository.usage(domain: .standard).chunks
            let identifier = try store.repository.beginUpload(Self.name, domain: .standard)
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + Int.random(in: 0...20_000, using: &random))
                switch Int.random(in: 0..<4, using: &random) {
                case 0: try store.reopen()
                case 1: try store.reopen(closing: false)
                case 2:
                    // A request that breaks off.
                    let writer = try store.repository.append(
                        Self.name, identifier, at: UInt64(start), domain: .standard)
                    try bytes[start..<end].withUnsafeBytes { try writer.write($0) }
                    writer.abandon()
                    let size = try store.repository.uploadStatus(
                        Self.name, identifier, domain: .standard)
                    start = Int(try #require(size))
                    continue
                default: break
                }
                let size = try store.repository.appendBlob(
                    Array(bytes[start..<end]), to: Self.name, identifier, at: UInt64(start))
                #expect(size == UInt64(end))
                start = end
            }
            let digest = try store.repository.finishUpload(
                Self.name, identifier, expecting: .sha256(Digest.of(bytes)), domain: .standard)
            #expect(try store.repository.blobBytes(digest) == bytes)
            #expect(
                try store.repository.usage(domain: .standard).chunks == before,
                "what the workspace has is not stored again")
            #expect(
                try store.repository.uploadStatus(Self.name, identifier, domain: .standard) == nil)
        }
    }

    @Test func `the hash may run ahead of what is written, but what is kept has both`() throws {
        let repository = try TestStore().repository
        var random = SeededGenerator(seed: 13)
        let bytes = random.bytes(30_000)
        let identifier = try repository.beginUpload(Self.name, domain: .standard)
        func writer(at offset: UInt64) throws -> UploadWriter {
            try repository.append(Self.name, identifier, at: offset, domain: .standard)
        }
        func each(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) throws -> Void) rethrows {
            for start in stride(from: range.lowerBound, to: range.upperBound, by: 2_500) {
                try bytes[start..<start + 2_500].withUnsafeBytes(body)
            }
        }
        let first = try writer(at: 0)
        each(0..<10_000, first.hash)
        try each(0..<10_000, first.writeHashed)
        #expect(try first.checkpoint() == 10_000)
        let second = try writer(at: 10_000)
        each(10_000..<20_000, second.hash)
        try each(10_000..<15_000, second.writeHashed)
        #expect(try code { _ = try second.checkpoint() } == .unavailable)
        #expect(
            try repository.uploadStatus(Self.name, identifier, domain: .standard) == 10_000)
        let third = try writer(at: 10_000)
        each(10_000..<30_000, third.hash)
        try each(10_000..<30_000, third.writeHashed)
        let digest = try third.finish(expecting: .sha256(Digest.of(bytes)))
        #expect(try repository.blobBytes(digest) == bytes)
    }

    @Test func `a wrong offset, another name and a second writer are refused`() throws {
        let repository = try TestStore().repository
        let identifier = try repository.beginUpload(Self.name, domain: .standard)
        try repository.appendBlob([1, 2, 3], to: Self.name, identifier, at: 0)
        #expect(
            try code { try repository.appendBlob([4], to: Self.name, identifier, at: 4) }
                == .outOfRange)
        #expect(
            try code { try repository.appendBlob([4], to: "team/other", identifier) } == .notFound)
        let writer = try repository.append(Self.name, identifier, at: 3, domain: .standard)
        #expect(
            try code { try repository.appendBlob([4], to: Self.name, identifier) } == .aborted)
        #expect(writer.size == 3)
        writer.abandon()
        #expect(try repository.appendBlob([4], to: Self.name, identifier, at: 3) == 4)
        #expect(
            try repository.uploadStatus("team/other", identifier, domain: .standard) == nil)
        #expect(try repository.uploadStatus(Self.name, identifier, domain: .standard) == 4)
    }

    @Test func `a wrong digest makes nothing, and the upload can still be cancelled`() throws {
        let repository = try TestStore().repository
        let identifier = try repository.beginUpload(Self.name, domain: .standard)
        try repository.appendBlob(Array(repeating: 7, count: 9_000), to: Self.name, identifier)
        let wrong = Digest.of([1])
        for expected in [ExpectedDigest.sha256(wrong), .sha512(Array(repeating: 1, count: 64))] {
            #expect(
                try code {
                    _ = try repository.finishUpload(
                        Self.name, identifier, expecting: expected, domain: .standard)
                } == .invalidArgument)
        }
        #expect(try !repository.hasLink(Self.name, wrong))
        #expect(
            try repository.links(Self.name, kind: .blob, after: nil, limit: 9, domain: .standard)
                .isEmpty)
        #expect(try repository.cancelUpload(Self.name, identifier, domain: .standard))
        #expect(try !repository.cancelUpload(Self.name, identifier, domain: .standard))
        #expect(try repository.uploadStatus(Self.name, identifier, domain: .standard) == nil)
    }

    @Test func `what was uploaded under a SHA-512 is found by it`() throws {
        let store = try TestStore()
        var random = SeededGenerator(seed: 12)
        let bytes = random.bytes(20_000)
        let sha512 = bytes.withUnsafeBytes { SHA512Hasher.of($0) }
        let digest = try store.repository.uploadBlob(
            bytes, to: Self.name, pieces: [7_000], expecting: .sha512(sha512))
        #expect(try store.repository.digest(alias: sha512, domain: .standard) == digest)
        _ = try store.rebuild()
        #expect(try store.repository.digest(alias: sha512, domain: .standard) == digest)
        #expect(try store.repository.hasLink(Self.name, digest))
    }

    @Test func `uploads that nobody goes on with expire`() throws {
        let store = try TestStore()
        let old = try store.repository.beginUpload(Self.name, domain: .standard)
        store.clock.advance(nanoseconds: 3_600_000_000_000)
        let young = try store.repository.beginUpload(Self.name, domain: .standard)
        let limit = Timestamp(seconds: store.clock.now().seconds - 60)
        #expect(try store.repository.expireUploads(before: limit, domain: .standard) == 1)
        #expect(try store.repository.uploadStatus(Self.name, old, domain: .standard) == nil)
        #expect(try store.repository.uploadStatus(Self.name, young, domain: .standard) == 0)
    }

    @Test func `an upload may go on for longer than a push`() throws {
        let store = try TestStore()
        var random = SeededGenerator(seed: 14)
        let upload = try store.repository.beginUpload(Self.name, domain: .standard)
        var bytes: [UInt8] = []
        let pause = store.repository.limits.pushIdleNanoseconds * 2 / 3
        for _ in 0...store.repository.limits.pushNanoseconds / pause + 3 {
            let part = random.bytes(5_000)
            #expect(
                try store.repository.appendBlob(part, to: Self.name, upload)
                    == UInt64(bytes.count + part.count))
            bytes += part
            store.clock.advance(nanoseconds: pause)
        }
        let digest = try store.repository.finishUpload(
            Self.name, upload, expecting: .sha256(Digest.of(bytes)), domain: .standard)
        #expect(try store.repository.blobBytes(digest) == bytes)
    }

    @Test func `ranges and frames give the bytes of a blob`() throws {
        let store = try TestStore()
        var random = SeededGenerator(seed: 13)
        let bytes = random.bytes(3_000) + Array(repeating: 5, count: 30_000) + random.bytes(9_000)
        let digest = try store.repository.uploadBlob(bytes, to: Self.name)
        let reader = try #require(try store.repository.blobReader(digest, domain: .standard))
        #expect(reader.size == UInt64(bytes.count))
        for _ in 0..<50 {
            let low = Int.random(in: 0...bytes.count, using: &random)
            let high = Int.random(in: low...bytes.count, using: &random)
            var found: [UInt8] = []
            try reader.read(UInt64(low)..<UInt64(high)) { found += $0 }
            #expect(found == Array(bytes[low..<high]))
        }
        let frames = try #require(try reader.frames())
        let decompressor = try Decompressor()
        var decoded: [UInt8] = []
        var isMore = true
        while isMore {
            isMore = try frames.next { frame in
                decoded += try Self.expand(frame, decompressor)
            }
        }
        #expect(decoded == bytes)
    }

    /// The content of a frame, whose size is one of those that chunks have.
    private static func expand(
        _ frame: UnsafeRawBufferPointer, _ decompressor: Decompressor
    ) throws -> [UInt8] {
        for length in 1...4_096 {
            let output = ReusableBuffer(capacity: length)
            output.resize(to: length)
            do {
                try decompressor.decode(
                    frame, codec: .zstd, rawLength: length, into: output.mutableBytes)
                return Array(output.bytes)
            } catch let error as CASError where error.code == .dataLoss { continue }
        }
        throw CASError(.dataLoss, "not a frame")
    }
}
