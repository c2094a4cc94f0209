package import CASCore

/// A lasting protection of a snapshot (Protocol.md, "Rules and pins").
package struct PinRecord: WireMessage {
    /// The name that it belongs to, without a tag; empty for a pin of the bare digest.
    package var name: String
    /// The snapshot.
    package var digest: Digest
    /// When it ends; nil for never.
    package var expires: Timestamp?
    /// What its maker said it is for.
    package var reason: String
    /// Who made it, when and from where.
    package var provenance: Provenance
    /// When it was made, by the store's clock.
    package var created: Timestamp

    /// A pin from its parts.
    package init(
        name: String, digest: Digest, expires: Timestamp?, reason: String,
        provenance: Provenance, created: Timestamp
    ) {
        self.name = name
        self.digest = digest
        self.expires = expires
        self.reason = reason
        self.provenance = provenance
        self.created = created
    }

    /// `name@sha256:…`, or the bare digest.
    package var reference: String { name.isEmpty ? "\(digest)" : "\(name)@\(digest)" }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: name)
        output.append(field: 2, digest: digest)
        output.append(field: 3, time: expires)
        output.append(field: 4, text: reason)
        output.append(field: 5, message: provenance)
        output.append(field: 6, time: created)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var digest: Digest?
        self.init(
            name: "", digest: .zero, expires: nil, reason: "", provenance: Provenance(),
            created: Timestamp(seconds: 0))
        try readFields(bytes, upTo: 6) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): name = try reader.repositoryName()
            case (2, .lengthDelimited): digest = try reader.digest()
            case (3, .lengthDelimited): expires = try reader.timestamp()
            case (4, .lengthDelimited): reason = try reader.string()
            case (5, .lengthDelimited):
                provenance = try Provenance(decoding: try reader.bytes(), limits: limits)
            case (6, .lengthDelimited): created = try reader.timestamp()
            default: return false
            }
            return true
        }
        guard let digest else { throw WireFailure.lacks("a digest") }
        self.digest = digest
    }
}

/// The wish for a pin, or for its end.
package struct PinRequest: WireMessage {
    /// Bytes that a reason may have at most.
    package static let maximumReasonBytes = 4096

    /// Seconds for which it holds, by the store's clock; zero for ever.
    package var lifetime: UInt64
    /// What it is for.
    package var reason: String
    /// Who wants it.
    package var provenance: Provenance

    /// A request from its parts.
    package init(
        lifetime: UInt64 = 0, reason: String = "", provenance: Provenance = Provenance()
    ) {
        self.lifetime = lifetime
        self.reason = reason
        self.provenance = provenance
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, varint: lifetime)
        output.append(field: 2, text: reason)
        output.append(field: 3, message: provenance)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init()
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .varint): lifetime = try reader.varint()
            case (2, .lengthDelimited): reason = try reader.string()
            case (3, .lengthDelimited):
                provenance = try Provenance(requested: try reader.bytes(), limits: limits)
            default: return false
            }
            return true
        }
        guard reason.utf8.count <= PinRequest.maximumReasonBytes else {
            throw CASError(
                .resourceExhausted,
                "a reason has at most "
                    + ByteCount.text(UInt64(PinRequest.maximumReasonBytes)))
        }
    }
}

extension Protobuf.Reader {
    /// A name without a tag; empty for none.
    mutating func repositoryName() throws -> String {
        let text = try string()
        guard text.isEmpty || RefName.isName(text) else { throw WireFailure.malformed("a name") }
        return text
    }
}

/// A part of the list of pins.
package typealias PinPage = WirePage<PinRecord>
