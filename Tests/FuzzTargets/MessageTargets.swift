import CASCore
import CASTree
import CASWire

extension FuzzTargets {
    private static func message<Message: WireMessage>(
        _ name: String, _ samples: [Message]
    ) -> FuzzTarget {
        .stable(
            "message-" + name, samples.map { $0.encode() },
            decode: { try Message(decoding: $0, limits: limits) }, encode: { $0.encode() })
    }

    static let messages: [FuzzTarget] = requests + answers + state

    private static let provenance = Provenance(
        author: "ada", host: "laptop", gitCommit: "0123abcd", gitModified: true, message: "hi",
        time: time)
    private static let target = RefTarget(kind: .snapshot, digest: digest)
    private static let scopes = [TokenScope(verbs: [.read, .write], prefix: "team"), .all]

    private static let requests: [FuzzTarget] = [
        message("provenance", [provenance]),
        message("precondition", [Precondition.any, .absent, .digest(digest)]),
        message("ref-target", [target]),
        message(
            "push-request",
            names.map {
                PushRequest(
                    pushID: identifier, ref: $0, snapshot: digest, base: other,
                    precondition: .digest(other), provenance: provenance, expires: time)
            }),
        message("digest-list", [DigestList(digests: [digest, other])]),
        message("plan-request", [PlanRequest(want: "team/project", have: digest)]),
        message(
            "ref-update",
            [RefUpdate(target: digest, precondition: .absent, provenance: provenance)]),
        message("token-request", [TokenRequest(name: "ci", scopes: scopes, expires: time)]),
        .text(
            "token-scope", ["read+write:team", "admin", "cache-write:a/b/"],
            parse: { try TokenScope($0) }, print: \.description),
    ]

    /// One name, or none where the grammar would refuse it: then the samples are missing and seen to be.
    static let names: [RefName] = ["team/project:v1"].compactMap { try? RefName($0) }

    private static let entries = names.map {
        RefEntry(
            name: $0, target: target, tree: other,
            totals: TreeTotals(files: 1, directories: 2, symlinks: 3, bytes: 4), sequence: 7,
            moved: time, provenance: provenance, expires: time)
    }
    private static let moves = names.map {
        HistoryEntry(
            sequence: 7, name: $0, previous: target, target: nil, provenance: provenance,
            pushID: identifier)
    }
    private static var rule: RetentionRule {
        var rule = RetentionRule(pattern: "team/*", provenance: provenance, created: time)
        (rule.keep, rule.keepTags, rule.onceTags) = (5, ["v*"], ["release-*"])
        (rule.historySeconds, rule.quota, rule.isCache) = (0, 1 << 40, true)
        return rule
    }
    private static let pin = PinRecord(
        name: "team/project", digest: digest, expires: time, reason: "paper",
        provenance: provenance, created: time)
    private static let token = TokenRecord(
        id: identifier, name: "ci", secretHash: digest, scopes: scopes, created: time,
        expires: time, revoked: time)

    private static let answers: [FuzzTarget] = [
        message(
            "push-response",
            [
                PushResponse(
                    outcome: .missing, snapshot: digest, tree: other, previous: digest,
                    sequence: 7, missing: [digest, other], missingCount: 9)
            ]),
        message(
            "missing",
            [MissingResponse(missing: [true, false, true] + [Bool](repeating: true, count: 9))]),
        message(
            "plan",
            names.map {
                PlanResponse(
                    planID: "plan", ref: $0, snapshot: digest, snapshotMessage: snapshotSample,
                    haveAccepted: true, metadataBytes: 1, dataBytes: 2, dataRawBytes: 3, files: 4,
                    shares: 5)
            }),
        message(
            "store",
            [
                StoreDescription(
                    softwareVersion: "1", incarnation: identifier, chunkerAverageBytes: 262_144,
                    chunkerSeed: 3, requestBytes: 4, unaskedBytes: 5, now: time, scopes: scopes,
                    publicURL: "https://cas.example")
            ]),
        message("ref-entry", entries), message("history-entry", moves),
        message("ref-page", [RefPage(entries: entries + entries, next: "a:b")]),
        message("history-page", [HistoryPage(entries: moves, next: "7")]),
        message("token-page", [TokenPage(entries: [token])]), message("token", [token]),
        message("token-response", [TokenResponse(record: token, secret: "cas_1_2")]),
        message(
            "usage",
            [
                UsageReport(
                    refs: 1, snapshots: 2, blobs: 3, chunks: 4, packs: 5, storedBytes: 6,
                    rawBytes: 7, logicalBytes: 8, freeBytes: 9,
                    rows: [.init(prefix: "team", refs: 1, logicalBytes: 8)])
            ]),
        message("store-health", [StoreHealth()]),
        message("retention-rule", [rule, RetentionRule(pattern: "**")]),
        message("pin", [pin]),
        message("pin-request", [PinRequest(lifetime: 60, reason: "paper")]),
        message("quota-request", names.map { QuotaRequest(ref: $0, bytes: 1 << 30) }),
        message(
            "layers-request",
            [LayersRequest(want: "team/a", name: "team/b", imageOptions: "prefix=/app")]),
        message(
            "layers-response",
            [
                LayersResponse(
                    snapshot: digest, totals: TreeTotals(files: 1, bytes: 2),
                    layers: [SnapshotLayer(digest: digest, size: 3, title: "/app")])
            ]),
        message(
            "ref-images",
            names.map {
                RefImages(
                    ref: $0,
                    images: [
                        ImageContents(
                            name: "team/app",
                            manifests: [
                                ImageManifestEntry(digest: digest, size: 3, mediaType: "m/m")
                            ], blobs: [ImageBlob(digest: other, size: 4, isDerived: true)])
                    ], derived: digest, unreadable: ["team/base"])
            }),
        message("error", [WireError(CASError(.notFound, "none", hint: "look", digest: digest))]),
    ]

    private static let state: [FuzzTarget] = [
        .stable(
            "store-event",
            ([
                .tokenCreated(token, sequence: 3), .tokenRevoked(identifier, at: time, sequence: 4),
                .storeCreated(
                    incarnation: identifier, averageBytes: 262_144, seed: 1, time: time,
                    sequence: 5),
                .ruleSet(rule, sequence: 6), .ruleRemoved("team/*", Provenance(), sequence: 7),
                .pinned(pin, .standard, sequence: 8),
                .unpinned(name: "", digest, Provenance(), .standard, sequence: 9),
            ] + zip(moves, entries).map { StoreEvent.refMoved($0, $1, .standard) }
                + moves.map { .refMoved($0, nil, .standard) }).map { $0.encode() },
            decode: { try StoreEvent(decoding: $0, limits: limits) }, encode: { $0.encode() })
    ]
}
