import CASCore
import CASTestSupport
import Foundation
import Testing

@testable import CASClient

/// The example of KnownMessages.md is what a push writes and reads; it is the sample of version 1.
@Suite struct KnownMessagesTests {
    private static let page = "Sources/CASClient/CASClient.docc/KnownMessages.md"
    private let snapshot = Digest.of(Array("s".utf8))
    private let known = [Digest.of(Array("1".utf8)), Digest.of(Array("2".utf8))]

    @Test func `the example of the format page`() throws {
        let area = try TemporaryDirectory("cas-known-")
        let path = area.path + "/x.messages"
        try KnownMessages.save(known + known, snapshot: snapshot, path: path)
        let written = [UInt8](try Data(contentsOf: URL(filePath: path)))
        let example = try DocumentExamples(Self.page).example("known")
        #expect(example == written, "\(Hexadecimal.encode(written))")
        try Data(example).write(to: URL(filePath: path))
        let read = KnownMessages(path: path, snapshot: snapshot)
        for digest in known { #expect(read.contains(digest)) }
        #expect(!read.contains(snapshot))
        #expect(!KnownMessages(path: path, snapshot: known[0]).contains(known[0]), "another one")
    }

    @Test func `a damaged or cut file says nothing`() throws {
        let area = try TemporaryDirectory("cas-known-")
        let path = area.path + "/x.messages"
        try KnownMessages.save(known, snapshot: snapshot, path: path)
        let good = try Data(contentsOf: URL(filePath: path))
        for position in good.indices {
            var bad = good
            bad[position] ^= 0x01
            try bad.write(to: URL(filePath: path))
            let read = KnownMessages(path: path, snapshot: snapshot)
            #expect(!read.contains(known[0]) && !read.contains(known[1]), "byte \(position)")
            try good.prefix(position).write(to: URL(filePath: path))
            #expect(!KnownMessages(path: path, snapshot: snapshot).contains(known[0]))
        }
    }
}
