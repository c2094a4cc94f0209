package import CASCore

/// What long work on a store is about.
package enum MaintenanceKind: UInt8, Sendable, CaseIterable {
    /// Ends what expired, frees what nothing keeps, packs what is left.
    case collect = 1
    /// Reads and checks every record.
    case scrub = 2
    /// Removes content for good.
    case purge = 3
    /// Finds what keeps a blob.
    case why = 4
    /// Finds how many of the bytes of images workspaces have too.
    case shares = 5
}

/// A request for long work on a store; repeating it with the same identifier starts nothing twice.
package struct MaintenanceRequest: WireMessage {
    /// The random name of the work, chosen by who asks.
    package var id: Identifier
    /// What it is about.
    package var kind: MaintenanceKind
    /// Whether nothing is to be changed.
    package var isDryRun: Bool
    /// The blob, tree or snapshot that it is about; nil for the whole store.
    package var digest: Digest?
    /// The ref that it is about, instead of a digest.
    package var ref: RefName?
    /// Why somebody wants it; empty where nobody has to say.
    package var reason: String
    /// Whether only refs that lack something are to be found, without reading everything.
    package var isReport: Bool
    /// Who asks, as the server found; never what a client says of itself.
    package var subject: String

    /// A request from its parts.
    package init(
        id: Identifier = .random(), kind: MaintenanceKind, isDryRun: Bool = false,
        digest: Digest? = nil, ref: RefName? = nil, reason: String = "", isReport: Bool = false,
        subject: String = ""
    ) {
        self.id = id
        self.kind = kind
        self.isDryRun = isDryRun
        self.digest = digest
        self.ref = ref
        self.reason = reason
        self.isReport = isReport
        self.subject = subject
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, identifier: id)
        output.append(field: 2, varint: UInt64(kind.rawValue))
        output.append(field: 3, flag: isDryRun)
        output.append(field: 4, digest: digest)
        output.append(field: 5, text: ref?.description ?? "")
        output.append(field: 6, text: reason)
        output.append(field: 7, flag: isReport)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var id: Identifier?
        var kind: MaintenanceKind?
        self.init(id: Identifier(high: 0, low: 0), kind: .collect)
        try readFields(bytes, upTo: 7) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): id = try reader.identifier()
            case (2, .varint): kind = try reader.value(MaintenanceKind.self)
            case (3, .varint): isDryRun = try reader.varint() != 0
            case (4, .lengthDelimited): digest = try reader.digest()
            case (5, .lengthDelimited): ref = try reader.refName()
            case (6, .lengthDelimited): reason = try reader.string()
            case (7, .varint): isReport = try reader.varint() != 0
            default: return false
            }
            return true
        }
        guard let id else { throw WireFailure.lacks("an identifier") }
        guard let kind else {
            throw CASError(
                .unimplemented, "the server does not know this kind of work",
                hint: "upgrade the server to the version of this client")
        }
        self.id = id
        self.kind = kind
    }
}

/// How far long work on a store is, and what it found.
package struct MaintenanceState: WireMessage {
    /// A number with a name.
    package struct Figure: WireMessage {
        /// What is counted, in the way of a JSON key: `freedBytes`.
        package var name: String
        /// How many.
        package var value: UInt64

        /// A figure from its parts.
        package init(_ name: String, _ value: UInt64) {
            self.name = name
            self.value = value
        }

        package func encode() -> [UInt8] {
            var output: [UInt8] = []
            output.append(field: 1, text: name)
            output.append(field: 2, varint: value)
            return output
        }

        package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
            self.init("", 0)
            try readFields(bytes, upTo: 2) { number, type, reader in
                switch (number, type) {
                case (1, .lengthDelimited): name = try reader.string()
                case (2, .varint): value = try reader.varint()
                default: return false
                }
                return true
            }
        }
    }

    /// One thing that was found.
    package struct Finding: WireMessage {
        /// What kind of thing, in one word: `ref`, `pin`, `damaged`.
        package var kind: String
        /// The ref concerned, as `NAME:TAG` or `NAME`; empty for none.
        ///
        /// Only who may read the name gets to see the finding.
        package var name: String
        /// The bytes concerned.
        package var digest: Digest?
        /// The rest of it, for a person; a path for example.
        package var text: String

        /// A finding from its parts.
        package init(_ kind: String, name: String = "", digest: Digest? = nil, text: String = "") {
            self.kind = kind
            self.name = name
            self.digest = digest
            self.text = text
        }

        package func encode() -> [UInt8] {
            var output: [UInt8] = []
            output.append(field: 1, text: kind)
            output.append(field: 2, text: name)
            output.append(field: 3, digest: digest)
            output.append(field: 4, text: text)
            return output
        }

        package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
            self.init("")
            try readFields(bytes, upTo: 4) { number, type, reader in
                switch (number, type) {
                case (1, .lengthDelimited): kind = try reader.string()
                case (2, .lengthDelimited): name = try reader.string()
                case (3, .lengthDelimited): digest = try reader.digest()
                case (4, .lengthDelimited): text = try reader.string()
                default: return false
                }
                return true
            }
        }
    }

    /// The name of the work.
    package var id: Identifier
    /// What it is doing now, in a few words.
    package var phase: String
    /// Whether it ended.
    package var isDone: Bool
    /// Why it ended early; nil if it did not.
    package var failure: WireError?
    /// Numbers so far, in the order to show them.
    package var figures: [Figure]
    /// What was found so far, the first so many.
    package var findings: [Finding]

    /// A state from its parts.
    package init(
        id: Identifier, phase: String = "", isDone: Bool = false, failure: WireError? = nil,
        figures: [Figure] = [], findings: [Finding] = []
    ) {
        self.id = id
        self.phase = phase
        self.isDone = isDone
        self.failure = failure
        self.figures = figures
        self.findings = findings
    }

    /// The figure of a name; nil if there is none.
    package subscript(_ name: String) -> UInt64? { figures.first { $0.name == name }?.value }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, identifier: id)
        output.append(field: 2, text: phase)
        output.append(field: 3, flag: isDone)
        output.append(field: 4, message: failure)
        for figure in figures { output.append(element: 5, bytes: figure.encode()) }
        for finding in findings { output.append(element: 6, bytes: finding.encode()) }
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var id: Identifier?
        self.init(id: Identifier(high: 0, low: 0))
        try readFields(bytes, upTo: 6) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): id = try reader.identifier()
            case (2, .lengthDelimited): phase = try reader.string()
            case (3, .varint): isDone = try reader.varint() != 0
            case (4, .lengthDelimited):
                failure = try WireError(decoding: try reader.bytes(), limits: limits)
            case (5, .lengthDelimited):
                guard figures.count < limits.listingEntries else {
                    throw WireFailure.tooMany("figures")
                }
                figures.append(try Figure(decoding: try reader.bytes(), limits: limits))
            case (6, .lengthDelimited):
                guard findings.count < limits.findings else {
                    throw WireFailure.tooMany("findings")
                }
                findings.append(try Finding(decoding: try reader.bytes(), limits: limits))
            default: return false
            }
            return true
        }
        guard let id else { throw WireFailure.lacks("an identifier") }
        self.id = id
    }
}
