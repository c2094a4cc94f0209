import CASClient
import CASCompression
import CASCore
import CASOCI
import CASTestSupport
import CASWire
import Synchronization
import Testing

@testable import CASImage

/// How layers come into their repository, and what they are.
@Suite struct LayerPlacementTests {
    @Test func `into the store of its snapshots nothing is sent, and it is the same image`()
        throws
    {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        let sent = try world.build(try world.layers("team/src")).run(ProgressCounters())
        let images = LocalImages(world.store, name: "team/app") { Provenance() }
        func build(isDryRun: Bool) throws -> ImageBuild.Report {
            var build = try world.build(
                try world.layers(
                    "team/src", place: .here(name: "team/app", isDryRun: isDryRun)))
            build.target = images
            build.isDryRun = isDryRun
            return try build.run(ProgressCounters())
        }
        let dry = try build(isDryRun: true)
        #expect(dry.digest == sent.digest)
        #expect(try images.manifest("1") == nil)
        #expect(try !images.hasBlob(sent.layers[0].descriptor.digest, isWritten: false))
        let report = try build(isDryRun: false)
        #expect(report.digest == sent.digest)
        #expect(report.image == sent.image)
        #expect(report.layers.map(\.title) == sent.layers.map(\.title))
        #expect(report.layers.map(\.placement) == [.derived])
        #expect(report.sentBytes == UInt64(report.image.config.count))
        #expect(try images.manifest("1")?.bytes == sent.image.bytes)
        var read: [UInt8] = []
        try images.read(report.layers[0].descriptor) { read.append(contentsOf: $0) }
        #expect(OCIDigest.of(read) == report.layers[0].descriptor.digest)
        // Compressed ones are made here.
        let zipped = try world.layers(
            "team/src", .gzip, place: .here(name: "team/app", isDryRun: false))
        #expect(zipped.allSatisfy { !$0.isDerived })
    }

    @Test func `layers that lie anywhere in the registry are not sent, however it looks for them`()
        throws
    {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        let first = try world.build(try world.layers("team/src")).run(ProgressCounters())
        world.registry.state.withLock { $0.findsAnywhere = true }
        let before = try world.registry.server.lines.count
        let second = try world.build(try world.layers("team/src"), to: "other/app").run(
            ProgressCounters())
        #expect(second.layers.map(\.placement) == [.mounted])
        #expect(second.sentBytes == 0)
        #expect(second.digest == first.digest)
        // Its tag, then for layer and configuration whether they are there and a mount, then the manifest.
        let methods = try world.registry.server.lines.dropFirst(before).map {
            String($0.prefix { $0 != " " })
        }
        #expect(methods == ["GET", "HEAD", "POST", "HEAD", "POST", "PUT"])
        // One that does not take such a question is asked as ever.
        world.registry.set { request, _ in
            request.query("mount") != nil && request.query("from") == nil
                ? LoopbackAnswer(status: 400) : nil
        }
        let third = try world.build(try world.layers("team/src"), to: "third/app").run(
            ProgressCounters())
        #expect(third.layers.map(\.placement) == [.uploaded])
    }

    @Test func `empty directories have their modes, the same however they are given`() throws {
        let options = try LayerOptions(userID: 7, groupID: 8)
        func layer(_ texts: [String], _ kind: LayerCompression = .none) throws -> DirectoryLayer {
            try DirectoryLayer(
                try texts.map { try EmptyDirectory($0) }, owner: options, compression: kind)
        }
        let one = try layer(["/tmp=1777", "/cas", "/tmp=700", "/tmp/=1777"])
        let two = try layer(["/cas/=755", "/tmp=1777"])
        #expect(one.describe() == two.describe())
        #expect(one.title == "directories /cas=755 /tmp=1777")
        var bytes: [UInt8] = []
        try one.write { bytes += $0 }
        #expect(bytes.count == 2 * 512 + 1_024)
        #expect(Digest.of(bytes) == one.describe().diffID)
        #expect(String(decoding: bytes[512..<517], as: UTF8.self) == "tmp/\0")
        #expect(String(decoding: bytes[612..<619], as: UTF8.self) == "0001777")
        let zipped = try layer(["/cas", "/tmp=1777"], .zstd).describe()
        #expect(zipped.diffID == one.describe().diffID && zipped.digest != zipped.diffID)
        for bad in ["tmp", "/", "/a/../b", "/tmp=2755", "/tmp=x", "/tmp=", "/tmp\n"] {
            #expect(throws: CASError.self) { try EmptyDirectory(bad) }
        }
    }

    @Test func `a level changes what is stored, and not what it is`() throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        func describe(_ level: Int?) throws -> LayerDescription {
            try #require(
                try WorkspaceLayers(
                    "team/src", from: world.store, options: try LayerOptions(),
                    compression: .zstd, memory: nil, temporaryDirectory: nil, maximumLayers: 64,
                    level: level
                ).layers.first
            ).describe()
        }
        #expect(try describe(nil) == describe(3))
        #expect(try describe(19).digest != describe(3).digest)
        #expect(try describe(19).diffID == describe(3).diffID)
        #expect(StreamCompressor.version(.zstd, level: 19) != StreamCompressor.version(.zstd))
    }
}
