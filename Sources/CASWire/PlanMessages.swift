package import CASCore

/// What a fetch wants.
package struct PlanRequest: WireMessage {
    /// A ref or digest, without a host.
    package var want: String
    /// A snapshot or tree that the client holds whole; nil for none.
    package var have: Digest?

    /// A request from its parts.
    package init(want: String, have: Digest? = nil) {
        self.want = want
        self.have = have
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: want)
        output.append(field: 2, digest: have)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(want: "")
        try readFields(bytes, upTo: 2) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): want = try reader.string()
            case (2, .lengthDelimited): have = try reader.digest()
            default: return false
            }
            return true
        }
    }
}

/// What a fetch will transfer.
package struct PlanResponse: WireMessage {
    /// The plan's name, for the requests that follow; good on any server of the store.
    package var planID: String
    /// The ref that was asked for; nil for a digest.
    package var ref: RefName?
    /// The snapshot to restore.
    package var snapshot: Digest
    /// Its message.
    package var snapshotMessage: [UInt8]
    /// Whether what the client holds is left out.
    package var haveAccepted: Bool
    /// Bytes of Directory and attributes records.
    package var metadataBytes: UInt64
    /// Bytes of records of content.
    package var dataBytes: UInt64
    /// Bytes of the files in them.
    package var dataRawBytes: UInt64
    /// Distinct files in them.
    package var files: UInt64
    /// Connections worth using at most.
    package var shares: Int

    /// A response from its parts.
    package init(
        planID: String, ref: RefName?, snapshot: Digest, snapshotMessage: [UInt8],
        haveAccepted: Bool, metadataBytes: UInt64, dataBytes: UInt64, dataRawBytes: UInt64,
        files: UInt64, shares: Int
    ) {
        self.planID = planID
        self.ref = ref
        self.snapshot = snapshot
        self.snapshotMessage = snapshotMessage
        self.haveAccepted = haveAccepted
        self.metadataBytes = metadataBytes
        self.dataBytes = dataBytes
        self.dataRawBytes = dataRawBytes
        self.files = files
        self.shares = shares
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: planID)
        output.append(field: 2, text: ref?.description ?? "")
        output.append(field: 3, digest: snapshot)
        output.append(field: 4, bytes: snapshotMessage)
        output.append(field: 5, flag: haveAccepted)
        output.append(field: 6, varint: metadataBytes)
        output.append(field: 7, varint: dataBytes)
        output.append(field: 8, varint: dataRawBytes)
        output.append(field: 9, varint: files)
        output.append(field: 10, varint: UInt64(max(shares, 0)))
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(
            planID: "", ref: nil, snapshot: .zero, snapshotMessage: [], haveAccepted: false,
            metadataBytes: 0, dataBytes: 0, dataRawBytes: 0, files: 0, shares: 1)
        try readFields(bytes, upTo: 10) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): planID = try reader.string()
            case (2, .lengthDelimited): ref = try reader.refName()
            case (3, .lengthDelimited): snapshot = try reader.digest()
            case (4, .lengthDelimited): snapshotMessage = try reader.array()
            case (5, .varint): haveAccepted = try reader.varint() != 0
            case (6, .varint): metadataBytes = try reader.varint()
            case (7, .varint): dataBytes = try reader.varint()
            case (8, .varint): dataRawBytes = try reader.varint()
            case (9, .varint): files = try reader.varint()
            case (10, .varint):
                shares = Int(max(1, min(try reader.varint(), UInt64(limits.streamsPerPush))))
            default: return false
            }
            return true
        }
        guard !planID.isEmpty else { throw WireFailure.lacks("the name of a plan") }
    }
}
