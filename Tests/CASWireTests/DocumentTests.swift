import CASCore
import CASTestSupport
import CASWire
import Testing

/// The examples of Protocol.md are what this program writes.
@Suite struct DocumentTests {
    private func example(_ name: String) throws -> [UInt8] {
        try DocumentExamples("Sources/CASWire/CASWire.docc/Protocol.md").example(name)
    }

    @Test func `messages of the page come back as they are`() throws {
        let request = try PushRequest(decoding: try example("push-request"))
        #expect(request.encode() == (try example("push-request")))
        let response = try PushResponse(decoding: try example("push-response"))
        #expect(response.encode() == (try example("push-response")))
        let missing = try MissingResponse(decoding: try example("missing-response"))
        #expect(missing.encode() == (try example("missing-response")))
        let plan = try PlanRequest(decoding: try example("plan-request"))
        #expect(plan.encode() == (try example("plan-request")))
        let layers = try LayersRequest(decoding: try example("layers-request"))
        #expect(layers.encode() == (try example("layers-request")))
        #expect(layers == Samples.layersWanted)
        let failure = try WireError(decoding: try example("wire-error"))
        #expect(failure.encode() == (try example("wire-error")))
    }

    @Test func `events of the page come back as they are`() throws {
        for name in [
            "store-event", "ref-renewed", "rule-set", "pinned", "oci-linked", "purge-begun",
        ] {
            let event = try StoreEvent(decoding: try example(name))
            let again = try StoreEvent(decoding: event.encode())
            #expect(again == event, "\(name)")
        }
        guard
            case .refRenewed(let renewal, let sequence) =
                try StoreEvent(decoding: try example("ref-renewed"))
        else { return #expect(Bool(false), "it is another event") }
        #expect(renewal.lifetime == 604_800)
        #expect(renewal.move == 7)
        #expect(sequence == 9)
    }

    @Test
    func `a purge of the page says what counts for nothing, and an older one nothing of that`()
        throws
    {
        guard
            case .purged(var record, sequence: 0) =
                try StoreEvent(decoding: try example("purge-begun"))
        else { return #expect(Bool(false), "it is another event") }
        #expect(record.names == ["team/image"] && record.begun?.seconds == 1_795_525_200)
        #expect(record.digests == [Digest.of(Array("snapshot".utf8))])
        (record.names, record.begun) = ([], nil)
        let older = StoreEvent.purged(record, sequence: 3)
        #expect(try StoreEvent(decoding: older.encode()) == older)
        record.names = [String](repeating: "a", count: PurgeRecord.maximumNames + 1)
        let tooMany = StoreEvent.purged(record, sequence: 0).encode()
        #expect(throws: CASError.self) { try StoreEvent(decoding: tooMany) }
    }

    @Test func `a link of the page says what it says`() throws {
        guard
            case .ociLinked(let link, .standard, 12) =
                try StoreEvent(decoding: try example("oci-linked"))
        else { return #expect(Bool(false), "it is another event") }
        #expect(link.name == "team/image" && link.kind == .blob && link.size == 5)
        #expect(link.digest == Digest.of(Array("snapshot".utf8)))
        #expect(!link.isRoot && link.parts.isEmpty && link.created.seconds == 1_795_525_200)
    }

    @Test func `rules and pins of the page say what it says`() throws {
        guard case .ruleSet(let rule, 10) = try StoreEvent(decoding: try example("rule-set")),
            case .pinned(let pin, .standard, 11) =
                try StoreEvent(decoding: try example("pinned"))
        else { return #expect(Bool(false), "they are other events") }
        #expect(rule.pattern == "team/*")
        #expect(rule.keep == 5)
        #expect(rule.keepTags == ["v*"])
        #expect(rule.historySeconds == 0)
        #expect(rule.quota == nil)
        #expect(pin.reference == "team/project@\(Digest.of(Array("snapshot".utf8)))")
        #expect(pin.reason == "paper")
    }
}
