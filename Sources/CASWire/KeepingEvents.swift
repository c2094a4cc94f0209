import CASCore

/// Reading the events of rules and pins.
extension StoreEvent {
    static func ruleSet(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) throws -> StoreEvent {
        var rule: RetentionRule?
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 2) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited):
                rule = try RetentionRule(decoding: try reader.bytes(), limits: limits)
            case (2, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        guard let rule else { throw WireFailure.lacks("a rule") }
        return .ruleSet(rule, sequence: sequence)
    }

    static func ruleRemoved(
        _ bytes: UnsafeRawBufferPointer, _ limits: Limits
    ) throws -> StoreEvent {
        var pattern = ""
        var provenance = Provenance()
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): pattern = try reader.string()
            case (2, .lengthDelimited):
                provenance = try Provenance(decoding: try reader.bytes(), limits: limits)
            case (3, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        guard !pattern.isEmpty else { throw WireFailure.lacks("a pattern") }
        return .ruleRemoved(pattern, provenance, sequence: sequence)
    }

    static func pinned(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) throws -> StoreEvent {
        var pin: PinRecord?
        var domain = Domain.standard
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited):
                pin = try PinRecord(decoding: try reader.bytes(), limits: limits)
            case (2, .varint): domain = try reader.domain()
            case (3, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        guard let pin else { throw WireFailure.lacks("a pin") }
        return .pinned(pin, domain, sequence: sequence)
    }

    static func unpinned(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) throws -> StoreEvent {
        var name = ""
        var digest: Digest?
        var provenance = Provenance()
        var domain = Domain.standard
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 5) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): name = try reader.repositoryName()
            case (2, .lengthDelimited): digest = try reader.digest()
            case (3, .lengthDelimited):
                provenance = try Provenance(decoding: try reader.bytes(), limits: limits)
            case (4, .varint): domain = try reader.domain()
            case (5, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        guard let digest else { throw WireFailure.lacks("a digest") }
        return .unpinned(name: name, digest, provenance, domain, sequence: sequence)
    }
}
