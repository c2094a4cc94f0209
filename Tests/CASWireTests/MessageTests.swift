import CASCore
import CASTestSupport
import CASTree
import CASWire
import Foundation
import Testing

@Suite struct MessageTests {
    @Test func `every message comes back as it was`() throws {
        for sample in try Samples.all() {
            #expect(try sample.again(sample.bytes) == sample.bytes, "\(sample.name)")
        }
        #expect(try PushRequest(decoding: Samples.push().encode()) == Samples.push())
        #expect(try PushResponse(decoding: Samples.response().encode()) == Samples.response())
        #expect(try RefEntry(decoding: Samples.entry().encode()) == Samples.entry())
        #expect(try HistoryEntry(decoding: Samples.move().encode()) == Samples.move())
        #expect(try PlanResponse(decoding: Samples.plan().encode()) == Samples.plan())
        #expect(try TokenRecord(decoding: Samples.token().encode()) == Samples.token())
        #expect(try UsageReport(decoding: Samples.usage.encode()) == Samples.usage)
        #expect(
            try UsageReport(decoding: Samples.measuredUsage.encode()) == Samples.measuredUsage)
        #expect(
            try StoreDescription(decoding: Samples.description().encode()) == Samples.description())
        #expect(
            try PushRequest(decoding: Samples.expiringPush().encode()) == Samples.expiringPush())
        #expect(try RefEntry(decoding: Samples.expiringEntry().encode()) == Samples.expiringEntry())
        #expect(
            try StoreDescription(decoding: Samples.serverDescription().encode())
                == Samples.serverDescription())
        #expect(
            try Provenance(decoding: Samples.signedProvenance.encode()) == Samples.signedProvenance)
        #expect(try RetentionRule(decoding: Samples.rule.encode()) == Samples.rule)
        #expect(try PinRecord(decoding: Samples.pin.encode()) == Samples.pin)
        #expect(
            try HistoryEntry(decoding: Samples.recordedMove().encode()) == Samples.recordedMove())
        for event in try Samples.events() + [Samples.renewal()] + Samples.keepingEvents()
            + Samples.checkpointEvents() + Samples.imageEvents() + [Samples.imageRenewal()]
        {
            #expect(try StoreEvent(decoding: event.encode()) == event)
        }
    }

    @Test func `image options are kept apart from none, in each ref of a commit`() throws {
        #expect(try PushRequest(decoding: Samples.imagePush().encode()) == Samples.imagePush())
        #expect(try Samples.imagePush().others[0].imageOptions?.isEmpty == true)
        #expect(try RefEntry(decoding: Samples.imageEntry().encode()) == Samples.imageEntry())
        #expect(try RefUpdate(decoding: Samples.imageUpdate.encode()) == Samples.imageUpdate)
        #expect(try DerivedImage(decoding: Samples.basedImage.encode()) == Samples.basedImage)
    }

    @Test func `moves that go with another one have none of their own`() throws {
        let request = try Samples.severalPushes()
        #expect(try PushRequest(decoding: request.encode()) == request)
        #expect(
            try PushResponse(decoding: Samples.severalAnswers().encode())
                == Samples.severalAnswers())
        var nested = request
        nested.others[0].others = [try Samples.push()]
        #expect(throws: CASError.self) { try PushRequest(decoding: nested.encode()) }
        var limits = Limits.standard
        limits.refsPerCommit = 1
        var many = request
        many.others.append(request.others[0])
        #expect(throws: CASError.self) {
            try many.encode().withUnsafeBytes { try PushRequest(decoding: $0, limits: limits) }
        }
    }

    /// Bytes that a released program wrote have to be read by all later ones.
    @Test func `format 1 is what it was`() throws {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "format-1.txt")
        var golden: [String: String] = [:]
        for line in try String(contentsOf: url, encoding: .utf8).split(separator: "\n") {
            let parts = line.split(separator: " ")
            golden["\(golden.count) \(parts[0])"] = String(parts[1])
        }
        for (index, sample) in try Samples.all().enumerated() {
            let name = sample.name.replacing(" ", with: "")
            #expect(golden["\(index) \(name)"] == Hexadecimal.encode(sample.bytes), "\(name)")
        }
        #expect(try golden.count == Samples.all().count)
    }

    @Test func `totals of zero are not the same as none`() throws {
        var entry = try Samples.entry()
        for totals in [TreeTotals(), nil] {
            entry.totals = totals
            #expect(try RefEntry(decoding: entry.encode()) == entry)
        }
    }

    @Test func `fields of a newer program are skipped`() throws {
        var bytes = try Samples.entry().encode()
        bytes.append(field: 100, varint: 5)
        bytes.append(field: 101, text: "new")
        #expect(try RefEntry(decoding: bytes) == Samples.entry())
    }

    @Test func `a precondition that is not understood is refused`() throws {
        var bytes: [UInt8] = []
        bytes.append(field: 9, varint: 1)
        #expect(throws: CASError.self) { try Precondition(decoding: bytes) }
    }

    @Test func `a rule of a newer program is refused, not kept in part`() {
        var bytes = Samples.rule.encode()
        bytes.append(field: 100, varint: 5)
        #expect(throws: CASError.self) { try RetentionRule(decoding: bytes) }
    }

    @Test func `an event of a newer format is refused as such`() throws {
        var bytes = try Samples.events()[0].encode()
        bytes[0] = 2
        let error = #expect(throws: CASError.self) { try StoreEvent(decoding: bytes) }
        #expect(error?.code == .unimplemented)
    }

    @Test func `lists longer than the limits are refused`() throws {
        var limits = Limits.standard
        limits.digestsPerRequest = 1
        limits.listingEntries = 1
        let digests = DigestList(digests: [Samples.digest, Samples.other]).encode()
        #expect(throws: CASError.self) { try DigestList(decoding: digests, limits: limits) }
        let page = RefPage(entries: [try Samples.entry(), try Samples.entry()]).encode()
        #expect(throws: CASError.self) { try RefPage(decoding: page, limits: limits) }
        let answer = MissingResponse(missing: [true, true]).encode()
        #expect(throws: CASError.self) { try MissingResponse(decoding: answer, limits: limits) }
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `no bytes make a decoder do worse than throw`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let rounds =
            ProcessInfo.processInfo.environment["CAS_TEST_FULL"]?.isEmpty == false ? 20_000 : 400
        for sample in try Samples.all() {
            for _ in 0..<rounds {
                var bytes = sample.bytes
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes = random.bytes(Int.random(in: 0..<200, using: &random))
                case 1: bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
                default:
                    guard !bytes.isEmpty else { continue }
                    for _ in 0...Int.random(in: 0..<3, using: &random) {
                        let index = Int.random(in: 0..<bytes.count, using: &random)
                        bytes[index] = UInt8.random(in: 0...255, using: &random)
                    }
                }
                do {
                    _ = try sample.again(bytes)
                } catch {
                    #expect(error is CASError, "seed \(seed), \(sample.name): \(error)")
                }
            }
        }
    }
}
