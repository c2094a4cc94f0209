package import CASCore

/// What a server says of itself and of the rights of who asks.
package struct StoreDescription: WireMessage {
    /// The newest protocol version that it speaks.
    package var protocolVersion: UInt64
    /// The version of the program.
    package var softwareVersion: String
    /// The random name of this life of the store; what a client remembers holds for it alone.
    package var incarnation: Identifier
    /// The average size of chunks.
    package var chunkerAverageBytes: UInt64
    /// The chunker's seed.
    package var chunkerSeed: UInt64
    /// Bytes of a request body at most.
    package var requestBytes: UInt64
    /// Bytes of new data that may come along unasked.
    package var unaskedBytes: UInt64
    /// The server's clock.
    package var now: Timestamp
    /// What the caller may do.
    package var scopes: [TokenScope]
    /// The address to write into manifests; empty where not configured.
    package var publicURL: String
    /// The address that pods of the server's cluster reach it by; empty where not configured.
    package var clusterURL = ""
    /// The host, and port, by which nodes pull images from it; empty where not configured.
    package var registryHost = ""
    /// Whom identity tokens must be for; empty if the server trusts no issuer of them.
    package var audience = ""
    /// The digest of the client executable that the server hands out; nil if it has none.
    package var clientDigest: Digest?
    /// Bytes of that executable.
    package var clientBytes: UInt64 = 0
    /// What a request from another machine may do without a token: `nothing`, `read` or `write`; empty
    /// where not known.
    package var anonymous = ""
    /// Whether some names have a quota, so that a push asks before it sends anything.
    package var hasQuotas = false
    /// Whether a commit may move several refs, all or none.
    package var movesSeveralRefs = false
    /// Whether chunk lists can be had without the chunks.
    package var givesChunkLists = false
    /// Whether it tells what images are made of, and a commit may bring some.
    package var takesImages = false

    /// A description from its parts.
    package init(
        protocolVersion: UInt64 = WireProtocol.version, softwareVersion: String,
        incarnation: Identifier, chunkerAverageBytes: UInt64, chunkerSeed: UInt64,
        requestBytes: UInt64, unaskedBytes: UInt64, now: Timestamp, scopes: [TokenScope],
        publicURL: String = ""
    ) {
        self.protocolVersion = protocolVersion
        self.softwareVersion = softwareVersion
        self.incarnation = incarnation
        self.chunkerAverageBytes = chunkerAverageBytes
        self.chunkerSeed = chunkerSeed
        self.requestBytes = requestBytes
        self.unaskedBytes = unaskedBytes
        self.now = now
        self.scopes = scopes
        self.publicURL = publicURL
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, varint: protocolVersion)
        output.append(field: 2, text: softwareVersion)
        output.append(field: 3, identifier: incarnation)
        output.append(field: 4, varint: chunkerAverageBytes)
        output.append(field: 5, varint: chunkerSeed)
        output.append(field: 6, varint: requestBytes)
        output.append(field: 7, varint: unaskedBytes)
        output.append(field: 8, time: now)
        for scope in scopes { output.append(element: 9, bytes: scope.description.utf8) }
        output.append(field: 10, text: publicURL)
        output.append(field: 11, text: clusterURL)
        output.append(field: 12, text: registryHost)
        output.append(field: 13, text: audience)
        output.append(field: 14, digest: clientDigest)
        output.append(field: 15, varint: clientBytes)
        output.append(field: 16, text: anonymous)
        output.append(field: 17, flag: hasQuotas)
        output.append(field: 18, flag: movesSeveralRefs)
        output.append(field: 19, flag: givesChunkLists)
        output.append(field: 20, flag: takesImages)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var incarnation: Identifier?
        self.init(
            protocolVersion: 0, softwareVersion: "", incarnation: Identifier(high: 0, low: 0),
            chunkerAverageBytes: 0, chunkerSeed: 0, requestBytes: 0, unaskedBytes: 0,
            now: Timestamp(seconds: 0), scopes: [])
        try readFields(bytes, upTo: 20) { number, type, reader in
            switch (number, type) {
            case (1, .varint): protocolVersion = try reader.varint()
            case (2, .lengthDelimited): softwareVersion = try reader.string()
            case (3, .lengthDelimited): incarnation = try reader.identifier()
            case (4, .varint): chunkerAverageBytes = try reader.varint()
            case (5, .varint): chunkerSeed = try reader.varint()
            case (6, .varint): requestBytes = try reader.varint()
            case (7, .varint): unaskedBytes = try reader.varint()
            case (8, .lengthDelimited): now = try reader.timestamp()
            case (9, .lengthDelimited):
                guard scopes.count < limits.listingEntries else {
                    throw WireFailure.tooMany("scopes")
                }
                if let scope = try WireFailure.knownScope(try reader.string()) {
                    scopes.append(scope)
                }
            case (10, .lengthDelimited): publicURL = try reader.string()
            case (11, .lengthDelimited): clusterURL = try reader.string()
            case (12, .lengthDelimited): registryHost = try reader.string()
            case (13, .lengthDelimited): audience = try reader.string()
            case (14, .lengthDelimited): clientDigest = try reader.digest()
            case (15, .varint): clientBytes = try reader.varint()
            case (16, .lengthDelimited): anonymous = try reader.string()
            case (17, .varint): hasQuotas = try reader.varint() != 0
            case (18, .varint): movesSeveralRefs = try reader.varint() != 0
            case (19, .varint): givesChunkLists = try reader.varint() != 0
            case (20, .varint): takesImages = try reader.varint() != 0
            default: return false
            }
            return true
        }
        guard let incarnation else { throw WireFailure.lacks("the store's incarnation") }
        self.incarnation = incarnation
    }
}
