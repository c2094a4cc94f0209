package import CASCore
package import CASTree

/// What a ref names now, and since when.
package struct RefEntry: WireMessage {
    /// The ref.
    package var name: RefName
    /// What it names.
    package var target: RefTarget
    /// The tree of the snapshot; nil for a manifest.
    package var tree: Digest?
    /// Sums over the tree.
    package var totals: TreeTotals?
    /// The number of the move that made it so.
    package var sequence: UInt64
    /// When that was.
    package var moved: Timestamp
    /// Where it came from.
    package var provenance: Provenance
    /// When it may go away; nil for never.
    package var expires: Timestamp?
    /// Seconds from a renewal to `expires`; zero if fetches do not renew it.
    package var lifetime: UInt64
    /// What the image is like that its snapshot is, as `ImageOptions` writes it; empty for the usual.
    package var imageOptions: String

    /// An entry from its parts.
    package init(
        name: RefName, target: RefTarget, tree: Digest?, totals: TreeTotals?, sequence: UInt64,
        moved: Timestamp, provenance: Provenance, expires: Timestamp?, lifetime: UInt64 = 0,
        imageOptions: String = ""
    ) {
        self.name = name
        self.target = target
        self.tree = tree
        self.totals = totals
        self.sequence = sequence
        self.moved = moved
        self.provenance = provenance
        self.expires = expires
        self.lifetime = lifetime
        self.imageOptions = imageOptions
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: name.description)
        output.append(field: 2, message: target)
        output.append(field: 3, digest: tree)
        if let totals { output.append(element: 4, bytes: totals.wire) }
        output.append(field: 5, varint: sequence)
        output.append(field: 6, time: moved)
        output.append(field: 7, message: provenance)
        output.append(field: 8, time: expires)
        output.append(field: 9, varint: lifetime)
        output.append(field: 10, text: imageOptions)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var name: RefName?
        var target: RefTarget?
        var tree: Digest?
        var totals: TreeTotals?
        var sequence: UInt64 = 0
        var moved = Timestamp(seconds: 0)
        var provenance = Provenance()
        var expires: Timestamp?
        var lifetime: UInt64 = 0
        var imageOptions = ""
        try readFields(bytes, upTo: 10) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): name = try reader.refName()
            case (2, .lengthDelimited):
                target = try RefTarget(decoding: try reader.bytes(), limits: limits)
            case (3, .lengthDelimited): tree = try reader.digest()
            case (4, .lengthDelimited): totals = try TreeTotals(wire: try reader.bytes())
            case (5, .varint): sequence = try reader.varint()
            case (6, .lengthDelimited): moved = try reader.timestamp()
            case (7, .lengthDelimited):
                provenance = try Provenance(decoding: try reader.bytes(), limits: limits)
            case (8, .lengthDelimited): expires = try reader.timestamp()
            case (9, .varint): lifetime = try reader.varint()
            case (10, .lengthDelimited): imageOptions = try reader.string()
            default: return false
            }
            return true
        }
        guard let name, let target else { throw WireFailure.lacks("a ref") }
        self.init(
            name: name, target: target, tree: tree, totals: totals, sequence: sequence,
            moved: moved, provenance: provenance, expires: expires, lifetime: lifetime,
            imageOptions: imageOptions)
    }
}

extension TreeTotals {
    var wire: [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, varint: files)
        output.append(field: 2, varint: directories)
        output.append(field: 3, varint: symlinks)
        output.append(field: 4, varint: bytes)
        return output
    }

    init(wire: UnsafeRawBufferPointer) throws {
        self.init()
        try readFields(wire, upTo: 4) { number, type, reader in
            switch (number, type) {
            case (1, .varint): files = try reader.varint()
            case (2, .varint): directories = try reader.varint()
            case (3, .varint): symlinks = try reader.varint()
            case (4, .varint): bytes = try reader.varint()
            default: return false
            }
            return true
        }
    }
}

/// One move of a ref, or its removal.
package struct HistoryEntry: WireMessage {
    /// The store-wide number of the move.
    package var sequence: UInt64
    /// The ref.
    package var name: RefName
    /// What it named before; nil for nothing.
    package var previous: RefTarget?
    /// What it named from then on; nil for a removal.
    package var target: RefTarget?
    /// Who did it, when and from where.
    package var provenance: Provenance
    /// The push that did it; nil for a tag or removal.
    package var pushID: Identifier?
    /// When the store took it, by its own clock; nil in moves that older programs recorded.
    package var recorded: Timestamp?
    /// The image options of the ref before it.
    package var imageOptions: String

    /// A move from its parts.
    package init(
        sequence: UInt64, name: RefName, previous: RefTarget?, target: RefTarget?,
        provenance: Provenance, pushID: Identifier?, recorded: Timestamp? = nil,
        imageOptions: String = ""
    ) {
        self.sequence = sequence
        self.name = name
        self.previous = previous
        self.target = target
        self.provenance = provenance
        self.pushID = pushID
        self.recorded = recorded
        self.imageOptions = imageOptions
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, varint: sequence)
        output.append(field: 2, text: name.description)
        output.append(field: 3, message: previous)
        output.append(field: 4, message: target)
        output.append(field: 5, message: provenance)
        output.append(field: 6, identifier: pushID)
        output.append(field: 7, time: recorded)
        output.append(field: 8, text: imageOptions)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var sequence: UInt64 = 0
        var name: RefName?
        var previous: RefTarget?
        var target: RefTarget?
        var provenance = Provenance()
        var pushID: Identifier?
        var recorded: Timestamp?
        var imageOptions = ""
        try readFields(bytes, upTo: 8) { number, type, reader in
            switch (number, type) {
            case (1, .varint): sequence = try reader.varint()
            case (2, .lengthDelimited): name = try reader.refName()
            case (3, .lengthDelimited):
                previous = try RefTarget(decoding: try reader.bytes(), limits: limits)
            case (4, .lengthDelimited):
                target = try RefTarget(decoding: try reader.bytes(), limits: limits)
            case (5, .lengthDelimited):
                provenance = try Provenance(decoding: try reader.bytes(), limits: limits)
            case (6, .lengthDelimited): pushID = try reader.identifier()
            case (7, .lengthDelimited): recorded = try reader.timestamp()
            case (8, .lengthDelimited): imageOptions = try reader.string()
            default: return false
            }
            return true
        }
        guard let name else { throw WireFailure.lacks("a ref") }
        self.init(
            sequence: sequence, name: name, previous: previous, target: target,
            provenance: provenance, pushID: pushID, recorded: recorded, imageOptions: imageOptions)
    }
}

/// A change of a ref that transfers nothing: a tag, or a removal.
package struct RefUpdate: WireMessage {
    /// The snapshot or tree to name; zero for a removal.
    package var target: Digest
    /// What the ref has to name now.
    package var precondition: Precondition
    /// Who does it.
    package var provenance: Provenance
    /// Seconds after which the ref may go away, by the store's clock; zero for never.
    ///
    /// Fetches renew it.
    package var lifetime: UInt64
    /// What the image is to be like that its snapshot is; nil for what the ref says now.
    package var imageOptions: String?

    /// An update from its parts.
    package init(
        target: Digest = .zero, precondition: Precondition = .any,
        provenance: Provenance = Provenance(), lifetime: UInt64 = 0, imageOptions: String? = nil
    ) {
        self.target = target
        self.precondition = precondition
        self.provenance = provenance
        self.lifetime = lifetime
        self.imageOptions = imageOptions
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, digest: target)
        output.append(field: 2, message: precondition)
        output.append(field: 3, message: provenance)
        output.append(field: 4, varint: lifetime)
        if let imageOptions { output.append(element: 5, bytes: Array(imageOptions.utf8)) }
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init()
        try readFields(bytes, upTo: 5) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): target = try reader.digest()
            case (2, .lengthDelimited):
                precondition = try Precondition(decoding: try reader.bytes(), limits: limits)
            case (3, .lengthDelimited):
                provenance = try Provenance(requested: try reader.bytes(), limits: limits)
            case (4, .varint): lifetime = try reader.varint()
            case (5, .lengthDelimited): imageOptions = try reader.string()
            default: return false
            }
            return true
        }
    }
}

/// A part of a listing, and where the next one begins.
package struct WirePage<Entry: WireMessage>: WireMessage {
    /// The entries in order.
    package var entries: [Entry]
    /// What to ask with for the next part; empty at the end.
    package var next: String

    /// A page from its parts.
    package init(entries: [Entry], next: String = "") {
        self.entries = entries
        self.next = next
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        for entry in entries { output.append(element: 1, bytes: entry.encode()) }
        output.append(field: 2, text: next)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(entries: [])
        try readFields(bytes, upTo: 2) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited):
                guard entries.count < limits.listingEntries else {
                    throw WireFailure.tooMany("entries")
                }
                entries.append(try Entry(decoding: try reader.bytes(), limits: limits))
            case (2, .lengthDelimited): next = try reader.string()
            default: return false
            }
            return true
        }
    }
}

/// A part of the list of refs.
package typealias RefPage = WirePage<RefEntry>
/// A part of a ref's history.
package typealias HistoryPage = WirePage<HistoryEntry>
/// A part of the list of tokens.
package typealias TokenPage = WirePage<TokenRecord>
