package import CASCore

/// Recorded state: what an index can not be rebuilt without (Protocol.md, "Recorded state").
package enum StoreEvent: Hashable, Sendable {
    /// A ref moved, or was removed; with what it names since then.
    case refMoved(HistoryEntry, RefEntry?, Domain)
    /// A token was made.
    case tokenCreated(TokenRecord, sequence: UInt64)
    /// A token was ended.
    case tokenRevoked(Identifier, at: Timestamp, sequence: UInt64)
    /// The store was created or rebuilt.
    case storeCreated(
        incarnation: Identifier, averageBytes: UInt64, seed: UInt64, time: Timestamp,
        sequence: UInt64)
    /// A ref got another end, without a move.
    case refRenewed(RefRenewal, sequence: UInt64)
    /// A rule was set, over the one of the same pattern.
    case ruleSet(RetentionRule, sequence: UInt64)
    /// The rule of a pattern was removed, and by whom.
    case ruleRemoved(String, Provenance, sequence: UInt64)
    /// A snapshot was pinned, over the pin of the same name and digest.
    case pinned(PinRecord, Domain, sequence: UInt64)
    /// The pin of a name, empty for none, and a digest was ended, and by whom.
    case unpinned(name: String, Digest, Provenance, Domain, sequence: UInt64)

    /// Content was removed for good.
    case purged(PurgeRecord, sequence: UInt64)
    /// A repository of images has a blob or manifest from now on, over the link of before.
    case ociLinked(OCILink, Domain, sequence: UInt64)
    /// It has it no more, and by whom.
    case ociUnlinked(
        name: String, Digest, OCILink.Kind, Provenance, Domain, sequence: UInt64)
    /// The SHA-512, of 64 bytes, of what has a digest.
    case digestAlias(sha512: [UInt8], Digest, Domain, sequence: UInt64)
    /// What image a tree is.
    case imageDerived(DerivedImage, Domain, sequence: UInt64)
    /// An event that a checkpoint repeats, within it; the sequence is the checkpoint's own.
    indirect case checkpointed(Identifier, StoreEvent, sequence: UInt64)
    /// A checkpoint of so many events is whole: of those with a lower sequence only its own count.
    case checkpointEnded(Identifier, count: UInt64, sequence: UInt64)

    /// The version of the encoding that this program writes and reads.
    package static let formatVersion: UInt8 = 1

    private enum Kind: UInt8 {
        case refMoved = 1
        case tokenCreated = 2
        case tokenRevoked = 3
        case storeCreated = 4
        case refRenewed = 5
        case ruleSet = 6
        case ruleRemoved = 7
        case pinned = 8
        case unpinned = 9
        case purged = 10
        case checkpointed = 11
        case checkpointEnded = 12
        case ociLinked = 13
        case ociUnlinked = 14
        case digestAlias = 15
        case imageDerived = 16
    }

    /// Kind and fields of an event about images.
    private func encodeImageEvent(_ output: inout [UInt8]) {
        switch self {
        case .ociLinked(let link, let domain, let sequence):
            output.append(Kind.ociLinked.rawValue)
            output.append(field: 1, message: link)
            output.append(field: 2, varint: UInt64(domain.rawValue))
            output.append(field: 3, varint: sequence)
        case .ociUnlinked(let name, let digest, let kind, let provenance, let domain, let sequence):
            output.append(Kind.ociUnlinked.rawValue)
            output.append(field: 1, text: name)
            output.append(field: 2, digest: digest)
            output.append(field: 3, varint: UInt64(kind.rawValue))
            output.append(field: 4, message: provenance)
            output.append(field: 5, varint: UInt64(domain.rawValue))
            output.append(field: 6, varint: sequence)
        case .digestAlias(let alias, let digest, let domain, let sequence):
            output.append(Kind.digestAlias.rawValue)
            output.append(field: 1, bytes: alias)
            output.append(field: 2, digest: digest)
            output.append(field: 3, varint: UInt64(domain.rawValue))
            output.append(field: 4, varint: sequence)
        case .imageDerived(let image, let domain, let sequence):
            output.append(Kind.imageDerived.rawValue)
            output.append(field: 1, message: image)
            output.append(field: 2, varint: UInt64(domain.rawValue))
            output.append(field: 3, varint: sequence)
        default: break
        }
    }

    /// The store-wide number that orders events.
    package var sequence: UInt64 {
        switch self {
        case .refMoved(let move, _, _): move.sequence
        case .tokenCreated(_, let sequence), .tokenRevoked(_, _, let sequence),
            .storeCreated(_, _, _, _, let sequence), .refRenewed(_, let sequence),
            .ruleSet(_, let sequence), .ruleRemoved(_, _, let sequence),
            .pinned(_, _, let sequence), .unpinned(_, _, _, _, let sequence),
            .purged(_, let sequence), .checkpointed(_, _, let sequence),
            .checkpointEnded(_, _, let sequence), .ociLinked(_, _, let sequence),
            .ociUnlinked(_, _, _, _, _, let sequence), .digestAlias(_, _, _, let sequence),
            .imageDerived(_, _, let sequence):
            sequence
        }
    }

    /// Version, kind, and the fields of that kind.
    package func encode() -> [UInt8] {
        var output: [UInt8] = [StoreEvent.formatVersion]
        switch self {
        case .refMoved(let move, let entry, let domain):
            output.append(Kind.refMoved.rawValue)
            output.append(field: 1, message: move)
            output.append(field: 2, message: entry)
            output.append(field: 3, varint: UInt64(domain.rawValue))
        case .tokenCreated(let record, let sequence):
            output.append(Kind.tokenCreated.rawValue)
            output.append(field: 1, message: record)
            output.append(field: 2, varint: sequence)
        case .tokenRevoked(let identifier, let time, let sequence):
            output.append(Kind.tokenRevoked.rawValue)
            output.append(field: 1, identifier: identifier)
            output.append(field: 2, time: time)
            output.append(field: 3, varint: sequence)
        case .storeCreated(let incarnation, let averageBytes, let seed, let time, let sequence):
            output.append(Kind.storeCreated.rawValue)
            output.append(field: 1, identifier: incarnation)
            output.append(field: 2, varint: averageBytes)
            output.append(field: 3, varint: seed)
            output.append(field: 4, time: time)
            output.append(field: 5, varint: sequence)
        case .refRenewed(let renewal, let sequence):
            output.append(Kind.refRenewed.rawValue)
            output.append(field: 1, text: renewal.name.description)
            output.append(field: 2, varint: renewal.move)
            output.append(field: 3, time: renewal.expires)
            output.append(field: 4, varint: renewal.lifetime)
            output.append(field: 5, varint: UInt64(renewal.domain.rawValue))
            output.append(field: 6, varint: sequence)
            if let options = renewal.imageOptions {
                output.append(element: 7, bytes: Array(options.utf8))
            }
        case .ruleSet(let rule, let sequence):
            output.append(Kind.ruleSet.rawValue)
            output.append(field: 1, message: rule)
            output.append(field: 2, varint: sequence)
        case .ruleRemoved(let pattern, let provenance, let sequence):
            output.append(Kind.ruleRemoved.rawValue)
            output.append(field: 1, text: pattern)
            output.append(field: 2, message: provenance)
            output.append(field: 3, varint: sequence)
        case .pinned(let pin, let domain, let sequence):
            output.append(Kind.pinned.rawValue)
            output.append(field: 1, message: pin)
            output.append(field: 2, varint: UInt64(domain.rawValue))
            output.append(field: 3, varint: sequence)
        case .unpinned(let name, let digest, let provenance, let domain, let sequence):
            output.append(Kind.unpinned.rawValue)
            output.append(field: 1, text: name)
            output.append(field: 2, digest: digest)
            output.append(field: 3, message: provenance)
            output.append(field: 4, varint: UInt64(domain.rawValue))
            output.append(field: 5, varint: sequence)
        case .purged(let record, let sequence):
            output.append(Kind.purged.rawValue)
            for digest in record.digests { output.append(element: 1, bytes: digest.bytes) }
            output.append(field: 2, text: record.reason)
            output.append(field: 3, message: record.provenance)
            output.append(field: 4, varint: UInt64(record.domain.rawValue))
            output.append(field: 5, varint: sequence)
            for name in record.names { output.append(element: 6, bytes: Array(name.utf8)) }
            output.append(field: 7, time: record.begun)
        case .checkpointed(let checkpoint, let event, let sequence):
            output.append(Kind.checkpointed.rawValue)
            output.append(field: 1, identifier: checkpoint)
            output.append(element: 2, bytes: event.encode())
            output.append(field: 3, varint: sequence)
        case .checkpointEnded(let checkpoint, let count, let sequence):
            output.append(Kind.checkpointEnded.rawValue)
            output.append(field: 1, identifier: checkpoint)
            output.append(field: 2, varint: count)
            output.append(field: 3, varint: sequence)
        case .ociLinked, .ociUnlinked, .digestAlias, .imageDerived: encodeImageEvent(&output)
        }
        return output
    }

    /// Reads an event; throws `dataLoss`, `unimplemented` for a newer one.
    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits = .standard) throws {
        guard bytes.count >= 2 else { throw WireFailure.lacks("an event") }
        guard bytes[0] == StoreEvent.formatVersion, let kind = Kind(rawValue: bytes[1]) else {
            throw CASError(
                .unimplemented,
                "recorded state has a format that this version of cas does not know",
                hint: "use the newest cas")
        }
        let fields = UnsafeRawBufferPointer(rebasing: bytes[2...])
        switch kind {
        case .refMoved: self = try StoreEvent.refMoved(fields, limits)
        case .tokenCreated: self = try StoreEvent.tokenCreated(fields, limits)
        case .tokenRevoked: self = try StoreEvent.tokenRevoked(fields)
        case .storeCreated: self = try StoreEvent.storeCreated(fields)
        case .refRenewed: self = try StoreEvent.refRenewed(fields)
        case .ruleSet: self = try StoreEvent.ruleSet(fields, limits)
        case .ruleRemoved: self = try StoreEvent.ruleRemoved(fields, limits)
        case .pinned: self = try StoreEvent.pinned(fields, limits)
        case .unpinned: self = try StoreEvent.unpinned(fields, limits)
        case .purged: self = try StoreEvent.purged(fields, limits)
        case .checkpointed: self = try StoreEvent.checkpointed(fields, limits)
        case .checkpointEnded: self = try StoreEvent.checkpointEnded(fields)
        case .ociLinked: self = try StoreEvent.ociLinked(fields, limits)
        case .ociUnlinked: self = try StoreEvent.ociUnlinked(fields, limits)
        case .digestAlias: self = try StoreEvent.digestAlias(fields)
        case .imageDerived: self = try StoreEvent.imageDerived(fields, limits)
        }
    }

    /// Reads an event; throws `dataLoss`, `unimplemented` for a newer one.
    package init(decoding bytes: [UInt8], limits: Limits = .standard) throws {
        self = try bytes.withUnsafeBytes { try StoreEvent(decoding: $0, limits: limits) }
    }

    private static func refMoved(
        _ bytes: UnsafeRawBufferPointer, _ limits: Limits
    ) throws -> StoreEvent {
        var move: HistoryEntry?
        var entry: RefEntry?
        var domain = Domain.standard
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited):
                move = try HistoryEntry(decoding: try reader.bytes(), limits: limits)
            case (2, .lengthDelimited):
                entry = try RefEntry(decoding: try reader.bytes(), limits: limits)
            case (3, .varint):
                domain = try reader.domain()
            default: return false
            }
            return true
        }
        guard let move else { throw WireFailure.lacks("a move") }
        return .refMoved(move, entry, domain)
    }

    private static func tokenCreated(
        _ bytes: UnsafeRawBufferPointer, _ limits: Limits
    ) throws -> StoreEvent {
        var record: TokenRecord?
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 2) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited):
                record = try TokenRecord(decoding: try reader.bytes(), limits: limits)
            case (2, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        guard let record else { throw WireFailure.lacks("a token") }
        return .tokenCreated(record, sequence: sequence)
    }

    private static func tokenRevoked(_ bytes: UnsafeRawBufferPointer) throws -> StoreEvent {
        var identifier: Identifier?
        var time = Timestamp(seconds: 0)
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): identifier = try reader.identifier()
            case (2, .lengthDelimited): time = try reader.timestamp()
            case (3, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        guard let identifier else { throw WireFailure.lacks("a token") }
        return .tokenRevoked(identifier, at: time, sequence: sequence)
    }

    private static func storeCreated(_ bytes: UnsafeRawBufferPointer) throws -> StoreEvent {
        var incarnation: Identifier?
        var numbers: [UInt32: UInt64] = [:]
        var time = Timestamp(seconds: 0)
        try readFields(bytes, upTo: 5) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): incarnation = try reader.identifier()
            case (2, .varint), (3, .varint), (5, .varint): numbers[number] = try reader.varint()
            case (4, .lengthDelimited): time = try reader.timestamp()
            default: return false
            }
            return true
        }
        guard let incarnation else { throw WireFailure.lacks("the store's incarnation") }
        return .storeCreated(
            incarnation: incarnation, averageBytes: numbers[2] ?? 0, seed: numbers[3] ?? 0,
            time: time, sequence: numbers[5] ?? 0)
    }

    private static func refRenewed(_ bytes: UnsafeRawBufferPointer) throws -> StoreEvent {
        var name: RefName?
        var move: UInt64 = 0
        var expires: Timestamp?
        var lifetime: UInt64 = 0
        var imageOptions: String?
        var domain = Domain.standard
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 7) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): name = try reader.refName()
            case (2, .varint): move = try reader.varint()
            case (3, .lengthDelimited): expires = try reader.timestamp()
            case (4, .varint): lifetime = try reader.varint()
            case (5, .varint): domain = try reader.domain()
            case (6, .varint): sequence = try reader.varint()
            case (7, .lengthDelimited): imageOptions = try reader.string()
            default: return false
            }
            return true
        }
        guard let name else { throw WireFailure.lacks("a ref") }
        return .refRenewed(
            RefRenewal(
                name: name, move: move, expires: expires, lifetime: lifetime,
                imageOptions: imageOptions, domain: domain),
            sequence: sequence)
    }
}
