package import CASCore

/// Where a push came from; belongs to a ref's history, not to the content.
package struct Provenance: WireMessage {
    /// Bytes of all texts together that a request may carry at most: histories keep them for ever.
    package static let maximumTextBytes = 64 << 10

    /// The user on the machine that pushed; empty where unknown, as the texts below.
    package var author: String
    /// The machine.
    package var host: String
    /// The commit that was checked out.
    package var gitCommit: String
    /// Whether the workspace differed from it.
    package var gitModified: Bool
    /// What the user wanted to say.
    package var message: String
    /// The clock of the machine that pushed.
    package var time: Timestamp
    /// Whom the token of the push was for, as the server found; never what a client says of itself.
    package var subject: String

    /// A provenance from its parts.
    package init(
        author: String = "", host: String = "", gitCommit: String = "", gitModified: Bool = false,
        message: String = "", time: Timestamp = Timestamp(seconds: 0), subject: String = ""
    ) {
        self.author = author
        self.host = host
        self.gitCommit = gitCommit
        self.gitModified = gitModified
        self.message = message
        self.time = time
        self.subject = subject
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: author)
        output.append(field: 2, text: host)
        output.append(field: 3, text: gitCommit)
        output.append(field: 4, flag: gitModified)
        output.append(field: 5, text: message)
        output.append(field: 6, time: time)
        output.append(field: 7, text: subject)
        return output
    }

    /// Reads the provenance in a request, which may not be longer than a history should keep.
    init(requested bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        try self.init(decoding: bytes, limits: limits)
        subject = ""
        let count = [author, host, gitCommit, message].reduce(0) { $0 + $1.utf8.count }
        guard count <= Provenance.maximumTextBytes else {
            throw CASError(
                .resourceExhausted,
                "author, host, commit and message have more than "
                    + ByteCount.text(UInt64(Provenance.maximumTextBytes)))
        }
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init()
        try readFields(bytes, upTo: 7) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): author = try reader.string()
            case (2, .lengthDelimited): host = try reader.string()
            case (3, .lengthDelimited): gitCommit = try reader.string()
            case (4, .varint): gitModified = try reader.varint() != 0
            case (5, .lengthDelimited): message = try reader.string()
            case (6, .lengthDelimited): time = try reader.timestamp()
            case (7, .lengthDelimited): subject = try reader.string()
            default: return false
            }
            return true
        }
    }
}
