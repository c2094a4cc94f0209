import CASCore
import CASRepository
import CASWire

/// The rights of one request.
struct Rights: Sendable {
    let scopes: [TokenScope]
    /// Who it is; empty where nobody said so.
    let subject: String

    init(_ caller: Caller) {
        scopes = caller.scopes
        subject = caller.subject
    }

    func allows(_ verb: TokenVerb, _ name: String) -> Bool {
        scopes.contains { $0.allows(verb, name) }
    }

    /// Whether something is allowed on a name that begins with this component, or on some of these.
    func allowsBelow(_ verb: TokenVerb, _ component: String) -> Bool {
        allows(verb, component)
            || scopes.contains {
                $0.allowsSomewhere(verb) && $0.prefix.hasPrefix(component + "/")
            }
    }

    /// Throws unless something is allowed on a name; `notFound` rather than telling that it exists.
    func require(_ verb: TokenVerb, _ name: RefName) throws {
        guard !allows(verb, name.name) else { return }
        if verb != .read, allows(.read, name.name) {
            throw CASError(
                .permissionDenied, "this token may not \(verb.rawValue) '\(name.name)'",
                hint: "cas doctor shows what the token may do")
        }
        throw CASError(
            verb == .read ? .notFound : .permissionDenied,
            verb == .read
                ? "there is no ref '\(name)', or this token may not read it"
                : "this token may not \(verb.rawValue) '\(name.name)'",
            hint: "cas doctor shows what the token may do")
    }

    /// Throws unless the image may be read that image options put others on top of.
    func requireBase(of imageOptions: String?) throws {
        guard let base = try imageOptions.flatMap({ try SnapshotImageOptions($0).base }) else {
            return
        }
        try require(.read, try RefName(name: base.name))
    }

    /// Throws unless names may be written that a commit brings images for.
    func requireWriting(_ images: [ImageContents]) throws {
        for image in images { try require(.write, try RefName(name: image.name)) }
    }

    func requireSomewhere(_ verb: TokenVerb) throws {
        guard scopes.contains(where: { $0.allowsSomewhere(verb) }) else {
            throw CASError(
                .permissionDenied, "this token may not \(verb.rawValue) anything",
                hint: "cas doctor shows what the token may do")
        }
    }

    /// Throws unless somebody may have long work of a kind done.
    ///
    /// A report names what may be read and nothing else.
    func require(_ kind: MaintenanceKind, isReport: Bool) throws {
        guard kind != .why, kind != .shares, kind != .scrub || !isReport else {
            return try requireSomewhere(.read)
        }
        guard isAdministrator else {
            throw CASError(
                .permissionDenied, "only a token with the right 'admin' may do this to a store",
                hint: "cas doctor shows what the token may do")
        }
    }

    /// Whether everything is allowed.
    var isAdministrator: Bool {
        scopes.contains { $0.verbs.contains(.admin) && $0.prefix.isEmpty }
    }

    /// Throws unless a request may be looked at at all.
    func check(_ route: Route, _ query: Query) throws {
        switch route {
        case .health, .readiness, .metrics, .describe: return
        case .missing, .upload, .abandon, .checkQuota, .layers: try requireSomewhere(.write)
        case .commit:
            try requireSomewhere(.write)
            if let ref = query["ref"] { try require(.write, try RefName(ref)) }
        case .plan, .planTree, .planData, .blobs, .blob, .refs, .usage, .client, .maintain,
            .maintenance, .pins:
            try requireSomewhere(.read)
        case .ref(let name), .history(let name), .images(let name): try require(.read, name)
        case .moveRef(let name): try require(.write, name)
        case .removeRef(let name): try require(.delete, name)
        case .pin, .unpin: try requirePin(query["name"] ?? "")
        case .rules, .setRule, .removeRule:
            guard isAdministrator else {
                throw CASError(
                    .permissionDenied, "only a token with the right 'admin' manages rules",
                    hint: "cas doctor shows what the token may do")
            }
        case .tokens, .createToken, .revokeToken:
            guard isAdministrator else {
                throw CASError(
                    .permissionDenied, "only a token with the right 'admin' manages tokens",
                    hint: "on the server's machine: cas token create --store DIR")
            }
        }
    }
}
