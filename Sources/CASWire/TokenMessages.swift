package import CASCore

/// What a token may allow.
package enum TokenVerb: String, Sendable, CaseIterable, Comparable {
    case read
    case write
    case delete
    case cacheWrite = "cache-write"
    case admin

    private var rank: Int { TokenVerb.allCases.firstIndex(of: self) ?? 0 }
    package static func < (left: TokenVerb, right: TokenVerb) -> Bool { left.rank < right.rank }
}

/// Verbs on all names below a prefix: `read+write:team`, or `admin`.
package struct TokenScope: Hashable, Sendable, CustomStringConvertible {
    /// What is allowed.
    package var verbs: Set<TokenVerb>
    /// Whole components of a name; empty for all names.
    package var prefix: String

    /// A scope from its parts.
    package init(verbs: Set<TokenVerb>, prefix: String = "") {
        self.verbs = verbs
        self.prefix = prefix
    }

    /// Everything.
    package static let all = TokenScope(verbs: [.admin])

    /// Parses `read`, `write:team`, `read+write:team/project/`; throws `invalidArgument`.
    package init(_ text: String) throws {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        var verbs: Set<TokenVerb> = []
        for word in parts[0].split(separator: "+", omittingEmptySubsequences: false) {
            guard let verb = TokenVerb(rawValue: String(word)) else {
                let known = TokenVerb.allCases.map(\.rawValue).joined(separator: ", ")
                throw CASError(
                    .invalidArgument, "'\(word)' is not a right", hint: "the rights are \(known)")
            }
            verbs.insert(verb)
        }
        guard parts.count > 1 else {
            self.init(verbs: verbs)
            return
        }
        var prefix = String(parts[1])
        if prefix.hasSuffix("/") { prefix.removeLast() }
        // An empty one is refused: `read:$TEAM` without a TEAM must not mean all names.
        guard RefName.isName(prefix) else {
            throw CASError(
                .invalidArgument, "'\(prefix)' is not the beginning of a name",
                hint: "write whole components: read+write:team or read:team/project")
        }
        self.init(verbs: verbs, prefix: prefix)
    }

    /// The scope as it is written; without a prefix it holds for all names.
    package var description: String {
        let words = verbs.sorted().map(\.rawValue).joined(separator: "+")
        return prefix.isEmpty ? words : "\(words):\(prefix)"
    }

    /// Whether it allows something on a name.
    package func allows(_ verb: TokenVerb, _ name: String) -> Bool {
        guard verbs.contains(verb) || verbs.contains(.admin) else { return false }
        return prefix.isEmpty || name == prefix || name.hasPrefix(prefix + "/")
    }

    /// Whether it allows something on some name at least.
    package func allowsSomewhere(_ verb: TokenVerb) -> Bool {
        verbs.contains(verb) || verbs.contains(.admin)
    }
}

/// What a store keeps of a token: not its secret.
package struct TokenRecord: WireMessage {
    /// Its random name.
    package var id: Identifier
    /// What its maker called it.
    package var name: String
    /// The SHA-256 of the secret.
    package var secretHash: Digest
    /// What it allows.
    package var scopes: [TokenScope]
    /// When it was made.
    package var created: Timestamp
    /// When it ends; nil for never.
    package var expires: Timestamp?
    /// When it was ended; nil while it holds.
    package var revoked: Timestamp?

    /// A record from its parts.
    package init(
        id: Identifier, name: String, secretHash: Digest, scopes: [TokenScope],
        created: Timestamp, expires: Timestamp?, revoked: Timestamp?
    ) {
        self.id = id
        self.name = name
        self.secretHash = secretHash
        self.scopes = scopes
        self.created = created
        self.expires = expires
        self.revoked = revoked
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, identifier: id)
        output.append(field: 2, text: name)
        output.append(field: 3, digest: secretHash)
        for scope in scopes { output.append(element: 4, bytes: scope.description.utf8) }
        output.append(field: 5, time: created)
        output.append(field: 6, time: expires)
        output.append(field: 7, time: revoked)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var id: Identifier?
        var secretHash: Digest?
        self.init(
            id: Identifier(high: 0, low: 0), name: "", secretHash: .zero, scopes: [],
            created: Timestamp(seconds: 0), expires: nil, revoked: nil)
        try readFields(bytes, upTo: 7) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): id = try reader.identifier()
            case (2, .lengthDelimited): name = try reader.string()
            case (3, .lengthDelimited): secretHash = try reader.digest()
            case (4, .lengthDelimited):
                guard scopes.count < limits.listingEntries else {
                    throw WireFailure.tooMany("scopes")
                }
                scopes.append(try WireFailure.scope(try reader.string()))
            case (5, .lengthDelimited): created = try reader.timestamp()
            case (6, .lengthDelimited): expires = try reader.timestamp()
            case (7, .lengthDelimited): revoked = try reader.timestamp()
            default: return false
            }
            return true
        }
        guard let id, let secretHash else { throw WireFailure.lacks("a token") }
        self.id = id
        self.secretHash = secretHash
    }
}

extension WireFailure {
    /// A scope in a message whose rights must be understood whole.
    static func scope(_ text: String) throws -> TokenScope {
        do {
            return try TokenScope(text)
        } catch {
            throw CASError(.dataLoss, "a message holds a scope that is none", cause: error)
        }
    }

    /// What a scope allows of the rights that this program knows, nil for nothing: a server that is
    /// newer may name others, which a client can do without.
    static func knownScope(_ text: String) throws -> TokenScope? {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let known = parts[0].split(separator: "+").filter {
            TokenVerb(rawValue: $0.description) != nil
        }
        guard !known.isEmpty else { return nil }
        return try scope(
            ([known.joined(separator: "+")] + parts.dropFirst().map(String.init))
                .joined(separator: ":"))
    }
}

/// The wish for a new token.
package struct TokenRequest: WireMessage {
    /// What to call it.
    package var name: String
    /// What it is to allow.
    package var scopes: [TokenScope]
    /// When it ends; nil for never.
    package var expires: Timestamp?

    /// A request from its parts.
    package init(name: String, scopes: [TokenScope], expires: Timestamp? = nil) {
        self.name = name
        self.scopes = scopes
        self.expires = expires
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: name)
        for scope in scopes { output.append(element: 2, bytes: scope.description.utf8) }
        output.append(field: 3, time: expires)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(name: "", scopes: [])
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): name = try reader.string()
            case (2, .lengthDelimited):
                guard scopes.count < limits.listingEntries else {
                    throw WireFailure.tooMany("scopes")
                }
                scopes.append(try WireFailure.scope(try reader.string()))
            case (3, .lengthDelimited): expires = try reader.timestamp()
            default: return false
            }
            return true
        }
    }
}

/// A new token, with its secret, which is told this once.
package struct TokenResponse: WireMessage {
    /// What the store keeps.
    package var record: TokenRecord
    /// `cas_<id>_<secret>`, what a client sends.
    package var secret: String

    /// A response from its parts.
    package init(record: TokenRecord, secret: String) {
        self.record = record
        self.secret = secret
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, message: record)
        output.append(field: 2, text: secret)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var record: TokenRecord?
        var secret = ""
        try readFields(bytes, upTo: 2) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited):
                record = try TokenRecord(decoding: try reader.bytes(), limits: limits)
            case (2, .lengthDelimited): secret = try reader.string()
            default: return false
            }
            return true
        }
        guard let record else { throw WireFailure.lacks("a token") }
        self.init(record: record, secret: secret)
    }
}
