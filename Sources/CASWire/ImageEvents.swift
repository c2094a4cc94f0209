import CASCore

/// Reading the events of images.
extension StoreEvent {
    static func ociLinked(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) throws -> StoreEvent {
        var link: OCILink?
        let rest = try ending(bytes, behind: 1) { reader in
            link = try OCILink(decoding: try reader.bytes(), limits: limits)
        }
        guard let link else { throw WireFailure.lacks("a link") }
        return .ociLinked(link, rest.domain, sequence: rest.sequence)
    }

    static func ociUnlinked(
        _ bytes: UnsafeRawBufferPointer, _ limits: Limits
    ) throws -> StoreEvent {
        var name = ""
        var digest: Digest?
        var kind: OCILink.Kind?
        var provenance = Provenance()
        var domain = Domain.standard
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 6) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): name = try reader.repositoryName()
            case (2, .lengthDelimited): digest = try reader.digest()
            case (3, .varint): kind = try reader.value(OCILink.Kind.self)
            case (4, .lengthDelimited):
                provenance = try Provenance(decoding: try reader.bytes(), limits: limits)
            case (5, .varint): domain = try reader.domain()
            case (6, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        guard let digest, let kind, !name.isEmpty else { throw WireFailure.lacks("a link") }
        return .ociUnlinked(name: name, digest, kind, provenance, domain, sequence: sequence)
    }

    static func digestAlias(_ bytes: UnsafeRawBufferPointer) throws -> StoreEvent {
        var alias: [UInt8] = []
        var digest: Digest?
        var domain = Domain.standard
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: 4) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): alias = try reader.array()
            case (2, .lengthDelimited): digest = try reader.digest()
            case (3, .varint): domain = try reader.domain()
            case (4, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        guard let digest, alias.count == SHA512Hasher.byteCount else {
            throw WireFailure.lacks("a digest")
        }
        return .digestAlias(sha512: alias, digest, domain, sequence: sequence)
    }

    static func imageDerived(
        _ bytes: UnsafeRawBufferPointer, _ limits: Limits
    ) throws -> StoreEvent {
        var image: DerivedImage?
        let rest = try ending(bytes, behind: 1) { reader in
            image = try DerivedImage(decoding: try reader.bytes(), limits: limits)
        }
        guard let image else { throw WireFailure.lacks("an image") }
        return .imageDerived(image, rest.domain, sequence: rest.sequence)
    }

    /// Reads one message, then the domain and the sequence.
    private static func ending(
        _ bytes: UnsafeRawBufferPointer, behind first: UInt32,
        _ body: (inout Protobuf.Reader) throws -> Void
    ) throws -> (domain: Domain, sequence: UInt64) {
        var domain = Domain.standard
        var sequence: UInt64 = 0
        try readFields(bytes, upTo: first + 2) { number, type, reader in
            switch (number, type) {
            case (first, .lengthDelimited): try body(&reader)
            case (first + 1, .varint): domain = try reader.domain()
            case (first + 2, .varint): sequence = try reader.varint()
            default: return false
            }
            return true
        }
        return (domain, sequence)
    }
}
