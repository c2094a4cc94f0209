package import CASCore

/// What was removed for good, and why.
package struct PurgeRecord: Hashable, Sendable {
    /// Digests in one record at most; a purge of more takes several.
    package static let maximumDigests = 10_000
    /// Names in what is noted of a purge at most.
    package static let maximumNames = 10_000

    /// What no push, import or rebuild brings back.
    package var digests: [Digest]
    /// Why, as whoever did it said.
    package var reason: String
    /// Who did it, and when.
    package var provenance: Provenance
    /// Whose it was.
    package var domain: Domain
    /// Names that had a target as an image: what they relied on before does not keep it.
    ///
    /// Only in what is noted of a purge that is under way.
    package var names: [String] = []
    /// When the purge began to look for what is kept; noted with the names.
    package var begun: Timestamp?

    /// A purge from its parts.
    package init(digests: [Digest], reason: String, provenance: Provenance, domain: Domain) {
        self.digests = digests
        self.reason = reason
        self.provenance = provenance
        self.domain = domain
    }
}

/// Reading the events of purges and checkpoints.
extension StoreEvent {
    static func purged(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) throws -> StoreEvent {
        var record = PurgeRecord(
            digests: [], reason: "", provenance: Provenance(), domain: .standard)
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 7) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited):
                guard record.digests.count < PurgeRecord.maximumDigests else {
                    throw WireFailure.tooMany("digests")
                }
                record.digests.append(try reader.digest())
            case (2, .lengthDelimited): record.reason = try reader.string()
            case (3, .lengthDelimited):
                record.provenance = try Provenance(decoding: try reader.bytes(), limits: limits)
            case (4, .varint): record.domain = try reader.domain()
            case (5, .varint): sequence = try reader.varint()
            case (6, .lengthDelimited):
                guard record.names.count < PurgeRecord.maximumNames else {
                    throw WireFailure.tooMany("names")
                }
                record.names.append(try reader.repositoryName())
            case (7, .lengthDelimited):
                record.begun = try reader.timestamp()
            default: return false
            }
            return true
        }
        return .purged(record, sequence: sequence)
    }

    static func checkpointed(
        _ bytes: UnsafeRawBufferPointer, _ limits: Limits
    ) throws -> StoreEvent {
        var checkpoint: Identifier?
        var event: StoreEvent?
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): checkpoint = try reader.identifier()
            case (2, .lengthDelimited):
                let inner = try reader.bytes()
                // No event within an event within an event.
                guard inner.count > 1, inner[1] != 11, inner[1] != 12 else {
                    throw WireFailure.malformed("a checkpoint")
                }
                event = try StoreEvent(decoding: inner, limits: limits)
            case (3, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        guard let checkpoint, let event else { throw WireFailure.lacks("a checkpoint") }
        return .checkpointed(checkpoint, event, sequence: sequence)
    }

    static func checkpointEnded(_ bytes: UnsafeRawBufferPointer) throws -> StoreEvent {
        var checkpoint: Identifier?
        var numbers: [UInt32: UInt64] = [:]
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): checkpoint = try reader.identifier()
            case (2, .varint), (3, .varint): numbers[number] = try reader.varint()
            default: return false
            }
            return true
        }
        guard let checkpoint else { throw WireFailure.lacks("a checkpoint") }
        return .checkpointEnded(checkpoint, count: numbers[2] ?? 0, sequence: numbers[3] ?? 0)
    }
}
