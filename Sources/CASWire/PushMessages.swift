package import CASCore

/// What a ref's present target has to be for a change to happen.
package enum Precondition: WireMessage {
    /// Anything, also nothing.
    case any
    /// This snapshot or tree.
    case digest(Digest)
    /// There must be no such ref.
    case absent

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        switch self {
        case .any: break
        case .digest(let digest): output.append(field: 1, digest: digest)
        case .absent: output.append(field: 2, flag: true)
        }
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var value = Precondition.any
        try readFields(bytes, upTo: 2) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): value = .digest(try reader.digest())
            case (2, .varint): if try reader.varint() != 0 { value = .absent }
            // A condition that is not understood must not count as met.
            default: throw WireFailure.malformed("a precondition")
            }
            return true
        }
        self = value
    }
}

/// What a ref names.
package struct RefTarget: WireMessage {
    /// What kind of thing the digest is of.
    package enum Kind: UInt8, Sendable, CaseIterable {
        case snapshot = 1
        case manifest = 2
    }
    /// What kind of thing it names.
    package var kind: Kind
    /// The digest of that thing.
    package var digest: Digest

    /// A target from its parts.
    package init(kind: Kind, digest: Digest) {
        self.kind = kind
        self.digest = digest
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, varint: UInt64(kind.rawValue))
        output.append(field: 2, digest: digest)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var kind: Kind?
        var digest: Digest?
        try readFields(bytes, upTo: 2) { number, type, reader in
            switch (number, type) {
            case (1, .varint): kind = try reader.value(Kind.self)
            case (2, .lengthDelimited): digest = try reader.digest()
            default: return false
            }
            return true
        }
        guard let kind, let digest else { throw WireFailure.lacks("a target") }
        self.init(kind: kind, digest: digest)
    }
}

/// The end of a push: move this ref to this snapshot.
package struct PushRequest: WireMessage {
    /// The push's random name; a repeated request with the same one moves nothing twice.
    package var pushID: Identifier
    /// The ref to move.
    package var ref: RefName
    /// The snapshot to move it to.
    package var snapshot: Digest
    /// The snapshot that the client believes the server holds whole; nil for none.
    package var base: Digest?
    /// What the ref has to name now.
    package var precondition: Precondition
    /// Where the push comes from.
    package var provenance: Provenance
    /// When the ref may go away; nil for never.
    package var expires: Timestamp?
    /// Seconds after which the ref may go away, by the store's clock; zero for no such time.
    ///
    /// Fetches renew it. Stronger than `expires`.
    package var lifetime: UInt64
    /// Moves of other refs that happen with this one, all of them or none; they have none of their own.
    ///
    /// Only for a store that says that it `movesSeveralRefs`: others do not see them.
    package var others: [PushRequest] = []
    /// What the image is to be like that the snapshot is; nil for what the ref says now.
    package var imageOptions: String?
    /// What `snapshot` is the digest of: a manifest only for a store that says that it `takesImages`.
    package var kind = RefTarget.Kind.snapshot
    /// What names are to have of images, from this commit on; of what the ref names, if that is an image, too.
    package var images: [ImageContents] = []

    /// What the ref is to name.
    package var target: RefTarget { RefTarget(kind: kind, digest: snapshot) }

    /// A request from its parts.
    package init(
        pushID: Identifier, ref: RefName, snapshot: Digest, base: Digest? = nil,
        precondition: Precondition = .any, provenance: Provenance = Provenance(),
        expires: Timestamp? = nil, lifetime: UInt64 = 0, imageOptions: String? = nil
    ) {
        self.pushID = pushID
        self.ref = ref
        self.snapshot = snapshot
        self.base = base
        self.precondition = precondition
        self.provenance = provenance
        self.expires = expires
        self.lifetime = lifetime
        self.imageOptions = imageOptions
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, identifier: pushID)
        output.append(field: 2, text: ref.description)
        output.append(field: 3, digest: snapshot)
        output.append(field: 4, digest: base)
        output.append(field: 5, message: precondition)
        output.append(field: 6, message: provenance)
        output.append(field: 7, time: expires)
        output.append(field: 8, varint: lifetime)
        for other in others { output.append(element: 9, bytes: other.encode()) }
        if let imageOptions { output.append(element: 10, bytes: Array(imageOptions.utf8)) }
        if kind != .snapshot { output.append(field: 11, varint: UInt64(kind.rawValue)) }
        for image in images { output.append(element: 12, bytes: image.encode()) }
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var pushID: Identifier?
        var ref: RefName?
        var snapshot: Digest?
        var base: Digest?
        var precondition = Precondition.any
        var provenance = Provenance()
        var expires: Timestamp?
        var lifetime: UInt64 = 0
        var others: [PushRequest] = []
        var imageOptions: String?
        var kind = RefTarget.Kind.snapshot
        var images: [ImageContents] = []
        try readFields(bytes, upTo: 12) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): pushID = try reader.identifier()
            case (2, .lengthDelimited): ref = try reader.refName()
            case (3, .lengthDelimited): snapshot = try reader.digest()
            case (4, .lengthDelimited): base = try reader.digest()
            case (5, .lengthDelimited):
                precondition = try Precondition(decoding: try reader.bytes(), limits: limits)
            case (6, .lengthDelimited):
                provenance = try Provenance(requested: try reader.bytes(), limits: limits)
            case (7, .lengthDelimited): expires = try reader.timestamp()
            case (8, .varint): lifetime = try reader.varint()
            case (9, .lengthDelimited):
                guard others.count < limits.refsPerCommit else { throw WireFailure.tooMany("refs") }
                let other = try PushRequest(other: try reader.bytes(), limits: limits)
                others.append(other)
            case (10, .lengthDelimited): imageOptions = try reader.string()
            case (11, .varint):
                guard let value = try reader.value(RefTarget.Kind.self) else {
                    throw WireFailure.malformed("what a push is of")
                }
                kind = value
            case (12, .lengthDelimited):
                guard images.count < limits.imagesPerRef else {
                    throw WireFailure.tooMany("images")
                }
                images.append(try ImageContents(decoding: try reader.bytes(), limits: limits))
            default: return false
            }
            return true
        }
        guard let pushID, let ref, let snapshot else { throw WireFailure.lacks("a push") }
        self.init(
            pushID: pushID, ref: ref, snapshot: snapshot, base: base, precondition: precondition,
            provenance: provenance, expires: expires, lifetime: lifetime,
            imageOptions: imageOptions)
        self.others = others
        self.kind = kind
        self.images = images
    }

    /// One that goes with another one, and has none that go with it.
    private init(other bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var limits = limits
        limits.refsPerCommit = 0
        self = try PushRequest(decoding: bytes, limits: limits)
    }
}

/// What became of a push.
package struct PushResponse: WireMessage {
    /// What became of a push.
    package enum Outcome: UInt8, Sendable, CaseIterable {
        /// The ref names the snapshot, durably.
        case done = 1
        /// The ref named this content before.
        case unchanged = 2
        /// Nothing moved: blobs are missing.
        case missing = 3
        /// Nothing moved: the precondition does not hold.
        case conflict = 4
    }
    /// What became of it.
    package var outcome: Outcome
    /// The snapshot that the ref names, or was to name.
    package var snapshot: Digest
    /// Its tree; zero where unknown.
    package var tree: Digest
    /// What the ref named before; nil for nothing.
    package var previous: Digest?
    /// The number of the move.
    package var sequence: UInt64
    /// The first of the missing blobs.
    package var missing: [Digest]
    /// How many are missing in all.
    package var missingCount: UInt64
    /// What became of the others that went with it, in their order; none where nothing moved.
    package var others: [PushResponse] = []
    /// The ref that a conflict is about, where there are several.
    package var ref: RefName?

    /// A response from its parts.
    package init(
        outcome: Outcome, snapshot: Digest, tree: Digest, previous: Digest?, sequence: UInt64,
        missing: [Digest], missingCount: UInt64
    ) {
        self.outcome = outcome
        self.snapshot = snapshot
        self.tree = tree
        self.previous = previous
        self.sequence = sequence
        self.missing = missing
        self.missingCount = missingCount
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, varint: UInt64(outcome.rawValue))
        output.append(field: 2, digest: snapshot)
        output.append(field: 3, digest: tree)
        output.append(field: 4, digest: previous)
        output.append(field: 5, varint: sequence)
        output.append(field: 6, bytes: DigestList(digests: missing).packed)
        output.append(field: 7, varint: missingCount)
        for other in others { output.append(element: 8, bytes: other.encode()) }
        output.append(field: 9, text: ref?.description ?? "")
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var outcome: Outcome?
        self.init(
            outcome: .missing, snapshot: .zero, tree: .zero, previous: nil, sequence: 0,
            missing: [], missingCount: 0)
        try readFields(bytes, upTo: 9) { number, type, reader in
            switch (number, type) {
            case (1, .varint): outcome = try reader.value(Outcome.self)
            case (2, .lengthDelimited): snapshot = try reader.digest()
            case (3, .lengthDelimited): tree = try reader.digest()
            case (4, .lengthDelimited): previous = try reader.digest()
            case (5, .varint): sequence = try reader.varint()
            case (6, .lengthDelimited):
                missing = try DigestList.unpack(
                    try reader.bytes(), limit: limits.digestsPerRequest)
            case (7, .varint): missingCount = try reader.varint()
            case (8, .lengthDelimited):
                guard others.count < limits.refsPerCommit else { throw WireFailure.tooMany("refs") }
                var limits = limits
                limits.refsPerCommit = 0
                others.append(try PushResponse(decoding: try reader.bytes(), limits: limits))
            case (9, .lengthDelimited): ref = try reader.refName()
            default: return false
            }
            return true
        }
        guard let outcome else { throw WireFailure.lacks("an outcome") }
        self.outcome = outcome
    }
}
