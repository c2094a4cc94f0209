import CASCore
import HTTPTypes

/// What a request of the native protocol is about (Protocol.md, "Paths").
enum Route: Sendable {
    case describe
    case missing(Identifier)
    case upload(Identifier, stream: Int, sequence: Int)
    case commit(Identifier)
    case abandon(Identifier)
    case plan
    case planTree(String)
    case planData(String, share: Int, count: Int)
    case layers
    case blobs
    case blob(Digest)
    case refs
    case ref(RefName)
    case moveRef(RefName)
    case removeRef(RefName)
    case history(RefName)
    case images(RefName)
    case usage
    case client(String)
    case tokens
    case createToken
    case revokeToken(Identifier)
    case checkQuota(Identifier)
    case pins
    case pin(Digest)
    case unpin(Digest)
    case rules
    case setRule
    case removeRule
    case maintain
    case maintenance(Identifier)
    case health
    case readiness
    case metrics

    /// Finds the route; throws `notFound` for an unknown path and `unimplemented` for a wrong method.
    init(_ method: HTTPRequest.Method, path: String, tag: String?) throws {
        let parts = path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
        switch (method, parts.first) {
        case (.get, "healthz") where parts.count == 1: self = .health
        case (.get, "readyz") where parts.count == 1: self = .readiness
        case (.get, "metrics") where parts.count == 1: self = .metrics
        case (_, "v1"): self = try Route(method, Array(parts.dropFirst()), tag)
        default: throw Route.unknown(path)
        }
    }

    private init(_ method: HTTPRequest.Method, _ parts: [String], _ tag: String?) throws {
        switch (method, parts.first, parts.count) {
        case (.get, nil, _): self = .describe
        case (_, "push", 2...): self = try Route.push(method, parts)
        case (.post, "plan", 1): self = .plan
        case (.get, "plan", 3) where parts[2] == "tree": self = .planTree(parts[1])
        case (.get, "plan", 5) where parts[2] == "data":
            self = .planData(
                parts[1], share: try Route.number(parts[3]), count: try Route.number(parts[4]))
        case (.post, "layers", 1): self = .layers
        case (.post, "blobs", 1): self = .blobs
        case (.get, "blobs", 2): self = .blob(try Route.digest(parts[1]))
        case (.get, "refs", 1): self = .refs
        case (.get, "refs", 2...): self = .ref(try Route.name(parts, tag))
        case (.put, "refs", 2...): self = .moveRef(try Route.name(parts, tag))
        case (.delete, "refs", 2...): self = .removeRef(try Route.name(parts, tag))
        case (.get, "history", 2...): self = .history(try Route.name(parts, tag))
        case (.get, "images", 2...): self = .images(try Route.name(parts, tag))
        case (.get, "usage", 1): self = .usage
        case (.get, "client", 2), (.head, "client", 2): self = .client(parts[1])
        case (.get, "tokens", 1): self = .tokens
        case (.post, "tokens", 1): self = .createToken
        case (.delete, "tokens", 2): self = .revokeToken(try Route.identifier(parts[1]))
        case (.get, "pins", 1): self = .pins
        case (.put, "pins", 2): self = .pin(try Route.digest(parts[1]))
        case (.delete, "pins", 2): self = .unpin(try Route.digest(parts[1]))
        case (.get, "rules", 1): self = .rules
        case (.put, "rules", 1): self = .setRule
        case (.delete, "rules", 1): self = .removeRule
        case (.post, "maintenance", 1): self = .maintain
        case (.get, "maintenance", 2): self = .maintenance(try Route.identifier(parts[1]))
        default: throw Route.unknown("/v1/" + parts.joined(separator: "/"))
        }
    }

    private static func push(_ method: HTTPRequest.Method, _ parts: [String]) throws -> Route {
        let push = try identifier(parts[1])
        switch (method, parts.count) {
        case (.post, 2): return .commit(push)
        case (.delete, 2): return .abandon(push)
        case (.post, 3) where parts[2] == "missing": return .missing(push)
        case (.post, 3) where parts[2] == "quota": return .checkQuota(push)
        case (.put, 5) where parts[2] == "streams":
            return .upload(push, stream: try number(parts[3]), sequence: try number(parts[4]))
        default: throw unknown("/v1/" + parts.joined(separator: "/"))
        }
    }

    private static func unknown(_ path: String) -> CASError {
        CASError(
            .unimplemented, "there is nothing at '\(path)' for this method",
            hint: "is this the address of a cas server, and is it new enough?")
    }

    private static func number(_ text: String) throws -> Int {
        guard let number = Int(text), number >= 0 else {
            throw CASError(.invalidArgument, "'\(text)' is not a number")
        }
        return number
    }

    private static func identifier(_ text: String) throws -> Identifier {
        guard let identifier = Identifier(hexadecimal: text) else {
            throw CASError(.invalidArgument, "'\(text)' is not 32 hexadecimal characters")
        }
        return identifier
    }

    private static func digest(_ text: String) throws -> Digest {
        guard let digest = Digest(hexadecimal: text) else {
            throw CASError(.invalidArgument, "'\(text)' is not 64 hexadecimal characters")
        }
        return digest
    }

    private static func name(_ parts: [String], _ tag: String?) throws -> RefName {
        try RefName(
            name: parts.dropFirst().joined(separator: "/"), tag: tag ?? RefName.defaultTag)
    }

    /// Its name in metrics and logs; the same for all requests of a kind.
    var door: String {
        switch self {
        case .describe: "describe"
        case .missing: "missing"
        case .upload: "upload"
        case .commit: "commit"
        case .abandon: "abandon"
        case .plan: "plan"
        case .planTree: "tree"
        case .planData: "data"
        case .layers: "layers"
        case .blobs, .blob: "blobs"
        case .refs, .ref: "refs"
        case .moveRef, .removeRef: "move"
        case .history: "history"
        case .images: "images"
        case .usage: "usage"
        case .client: "client"
        case .tokens, .createToken, .revokeToken: "tokens"
        case .checkQuota: "quota"
        case .pins, .pin, .unpin: "pins"
        case .rules, .setRule, .removeRule: "rules"
        case .maintain, .maintenance: "maintenance"
        case .health, .readiness, .metrics: "operations"
        }
    }
}
