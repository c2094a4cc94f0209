import CASCore
import CASTestSupport
import CASTree
import CASWire

/// One value of each message, with every field set.
enum Samples {
    static let digest = Digest.of(Array("sample".utf8))
    static let other = Digest.of(Array("other".utf8))
    static let identifier = Identifier(high: 0x0102_0304_0506_0708, low: 0x090a_0b0c_0d0e_0f10)
    static let time = Timestamp(seconds: 1_700_000_000, nanoseconds: 5)

    static func ref() throws -> RefName { try RefName("team/project:v1") }

    static let provenance = Provenance(
        author: "ada", host: "laptop", gitCommit: "0123abcd", gitModified: true, message: "hi",
        time: time)

    static func push() throws -> PushRequest {
        PushRequest(
            pushID: identifier, ref: try ref(), snapshot: digest, base: other,
            precondition: .digest(other), provenance: provenance, expires: time)
    }

    static func response() -> PushResponse {
        PushResponse(
            outcome: .missing, snapshot: digest, tree: other, previous: digest, sequence: 7,
            missing: [digest, other], missingCount: 9)
    }

    static func plan() throws -> PlanResponse {
        PlanResponse(
            planID: "plan", ref: try ref(), snapshot: digest, snapshotMessage: [1, 2],
            haveAccepted: true, metadataBytes: 1, dataBytes: 2, dataRawBytes: 3, files: 4, shares: 5
        )
    }

    static func entry() throws -> RefEntry {
        RefEntry(
            name: try ref(), target: RefTarget(kind: .snapshot, digest: digest), tree: other,
            totals: TreeTotals(files: 1, directories: 2, symlinks: 3, bytes: 4), sequence: 7,
            moved: time, provenance: provenance, expires: time)
    }

    static func move() throws -> HistoryEntry {
        HistoryEntry(
            sequence: 7, name: try ref(), previous: RefTarget(kind: .snapshot, digest: other),
            target: RefTarget(kind: .manifest, digest: digest), provenance: provenance,
            pushID: identifier)
    }

    static func token() throws -> TokenRecord {
        TokenRecord(
            id: identifier, name: "ci", secretHash: digest,
            scopes: [try TokenScope("read+write:team"), .all], created: time, expires: time,
            revoked: time)
    }

    static func description() throws -> StoreDescription {
        StoreDescription(
            softwareVersion: "1", incarnation: identifier, chunkerAverageBytes: 262_144,
            chunkerSeed: 3, requestBytes: 4, unaskedBytes: 5, now: time,
            scopes: [try TokenScope("read")], publicURL: "https://cas.example")
    }

    static var signedProvenance: Provenance {
        var provenance = provenance
        provenance.subject = "system:serviceaccount:ml:trainer"
        return provenance
    }

    static func expiringPush() throws -> PushRequest {
        PushRequest(
            pushID: identifier, ref: try ref(), snapshot: digest, provenance: provenance,
            lifetime: 604_800)
    }

    static func expiringEntry() throws -> RefEntry {
        var entry = try entry()
        entry.lifetime = 604_800
        return entry
    }

    static func renewal() throws -> StoreEvent {
        .refRenewed(
            RefRenewal(
                name: try ref(), move: 7, expires: time, lifetime: 604_800, domain: .standard),
            sequence: 9)
    }

    static func serverDescription() throws -> StoreDescription {
        var description = try description()
        description.clusterURL = "http://cas.cas:8700"
        description.registryHost = "registry.example.org:30500"
        description.audience = "cas"
        description.clientDigest = digest
        description.clientBytes = 60_000_000
        description.anonymous = "nothing"
        return description
    }

    static func describedQuotas() throws -> StoreDescription {
        var description = try description()
        description.hasQuotas = true
        return description
    }

    static var rule: RetentionRule {
        var rule = RetentionRule(pattern: "team/**", provenance: provenance, created: time)
        rule.keep = 5
        rule.keepSeconds = 604_800
        rule.keepTags = ["v*", "stable"]
        rule.onceTags = ["release-*"]
        rule.historySeconds = 0
        rule.quota = 1 << 40
        rule.isCache = true
        rule.windowSeconds = 3600
        return rule
    }

    static let pin = PinRecord(
        name: "team/project", digest: digest, expires: time, reason: "paper",
        provenance: provenance, created: time)

    static func keepingEvents() -> [StoreEvent] {
        [
            .ruleSet(rule, sequence: 10), .ruleRemoved("team/**", provenance, sequence: 11),
            .pinned(pin, .standard, sequence: 12),
            .unpinned(name: "team/project", digest, provenance, .standard, sequence: 13),
        ]
    }

    static let link = OCILink(
        name: "team/image", digest: digest, kind: .manifest, size: 7, mediaType: "m",
        artifactType: "a", subject: other, isRoot: true, created: time, parts: [other, digest],
        optional: [other], isBySHA512: true)

    static let image = DerivedImage(
        tree: digest, options: [1, 2], manifest: other, mediaType: "m", config: digest,
        layers: [DerivedLayer(digest: other, size: 8, format: 1, part: [3])], created: time)

    static func imageEvents() -> [StoreEvent] {
        [
            .ociLinked(link, .standard, sequence: 16),
            .ociUnlinked(
                name: "team/image", digest, .blob, provenance, .standard, sequence: 17),
            .digestAlias(
                sha512: [UInt8](repeating: 6, count: 64), digest, .standard, sequence: 18),
            .imageDerived(image, .standard, sequence: 19),
        ]
    }

    static func checkpointEvents() throws -> [StoreEvent] {
        [
            .purged(
                PurgeRecord(
                    digests: [digest], reason: "a key", provenance: provenance, domain: .standard),
                sequence: 14),
            .checkpointed(
                identifier, .ruleRemoved("team/**", provenance, sequence: 11), sequence: 15),
            .checkpointEnded(identifier, count: 1, sequence: 15),
        ]
    }

    static func recordedMove() throws -> HistoryEntry {
        var move = try move()
        move.recorded = time
        return move
    }

    static let measuredUsage = {
        var report = usage
        report.scatter.refs = 1
        report.scatter.ranges = 2
        report.scatter.readBytes = 3
        report.scatter.restoredBytes = 4
        return report
    }()
    static func severalPushes() throws -> PushRequest {
        var request = try push()
        var other = try push()
        other.pushID = Identifier(high: 1, low: 2)
        other.ref = try RefName("team/other:v2")
        request.others = [other]
        return request
    }

    static func severalAnswers() throws -> PushResponse {
        var answer = response()
        answer.others = [response()]
        answer.ref = try ref()
        return answer
    }

    static func describedAbilities() throws -> StoreDescription {
        var description = try describedQuotas()
        description.movesSeveralRefs = true
        description.givesChunkLists = true
        return description
    }

    static let health = {
        var health = StoreHealth()
        health.collected = time
        health.gaps = 1
        health.scrubbed = time
        health.findings = 2
        health.roundBegan = time
        health.roundFindings = 3
        health.roundDoneBytes = 4
        health.roundBytes = 5
        health.reserveBytes = 6
        health.isReserveReleased = true
        return health
    }()
    static let healthyUsage = {
        var report = measuredUsage
        report.health = health
        return report
    }()
    static let usage = UsageReport(
        refs: 1, snapshots: 2, blobs: 3, chunks: 4, packs: 5, storedBytes: 6, rawBytes: 7,
        logicalBytes: 8, freeBytes: 9, rows: [.init(prefix: "team", refs: 1, logicalBytes: 8)])

    static let failure = WireError(
        CASError(.notFound, "there is none", hint: "look elsewhere", digest: digest))

    static func events() throws -> [StoreEvent] {
        [
            .refMoved(try move(), try entry(), .standard), .refMoved(try move(), nil, .standard),
            .tokenCreated(try token(), sequence: 3),
            .tokenRevoked(identifier, at: time, sequence: 4),
            .storeCreated(
                incarnation: identifier, averageBytes: 262_144, seed: 1, time: time, sequence: 5),
        ]
    }

    /// Every message under its name, encoded, with a function that decodes and encodes it again.
    static func all() throws -> [(name: String, bytes: [UInt8], again: ([UInt8]) throws -> [UInt8])]
    {
        func item<Message: WireMessage>(
            _ message: Message
        ) -> (String, [UInt8], ([UInt8]) throws -> [UInt8]) {
            (
                "\(Message.self)", message.encode(),
                { try Message(decoding: $0, limits: .standard).encode() }
            )
        }
        return [
            item(provenance), item(Precondition.absent), item(Precondition.digest(digest)),
            item(RefTarget(kind: .snapshot, digest: digest)), item(try push()), item(response()),
            item(DigestList(digests: [digest, other])),
            item(
                MissingResponse(missing: [true, false, true, true, false, false, false, true, true])
            ),
            item(PlanRequest(want: "team/project", have: digest)), item(try plan()),
            item(try description()), item(try entry()), item(try move()),
            item(RefUpdate(target: digest, precondition: .absent, provenance: provenance)),
            item(RefPage(entries: [try entry()], next: "team/project:v1")),
            item(HistoryPage(entries: [try move()], next: "7")), item(try token()),
            item(TokenRequest(name: "ci", scopes: [.all], expires: time)),
            item(TokenResponse(record: try token(), secret: "cas_1_2")), item(usage), item(failure),
        ]
            + (try events()).enumerated().map { index, event in
                ("StoreEvent\(index)", event.encode(), { try StoreEvent(decoding: $0).encode() })
            }
            // Behind all others, as lines are never changed: what came with the refs that expire.
            + [
                item(try expiringPush()), item(try expiringEntry()),
                item(RefUpdate(target: digest, provenance: provenance, lifetime: 604_800)),
                item(try serverDescription()),
                ("StoreEvent5", try renewal().encode(), { try StoreEvent(decoding: $0).encode() }),
                item(signedProvenance),
            ]
            // What came with rules and pins.
            + [
                item(rule), item(RetentionRule(pattern: "**")), item(pin),
                item(PinRequest(lifetime: 60, reason: "paper", provenance: provenance)),
                item(QuotaRequest(ref: try ref(), bytes: 1 << 30)),
                item(RulePage(entries: [rule])), item(PinPage(entries: [pin], next: "x")),
                item(try recordedMove()), item(try describedQuotas()),
            ]
            + (keepingEvents() + (try checkpointEvents())).enumerated().map { index, event in
                (
                    "StoreEvent\(index + 6)", event.encode(),
                    { try StoreEvent(decoding: $0).encode() }
                )
            } + [
                item(healthyUsage), item(try severalPushes()), item(try severalAnswers()),
                item(try describedAbilities()),
            ]
            // What came with images.
            + [item(link), item(image)]
            + (imageEvents() + [try imageRenewal()]).enumerated().map { index, event in
                (
                    "StoreEvent\(index + 13)", event.encode(),
                    { try StoreEvent(decoding: $0).encode() }
                )
            }
            + [
                item(try imagePush()), item(try imageEntry()), item(imageUpdate), item(basedImage),
                item(layersWanted), item(layersGiven), item(LayersResponse.unfinished),
            ]
    }
}
