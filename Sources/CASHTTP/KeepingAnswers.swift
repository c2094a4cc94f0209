import CASCore
import CASRepository
import CASWire
import Hummingbird

/// Answers about rules, pins and quotas.
extension Door {
    func checkQuota(_ rights: Rights, _ body: ReusableBuffer) async throws -> Response {
        let request = try Door.decode(QuotaRequest.self, body)
        try rights.require(.write, request.ref)
        try await blocking { try repository.checkQuota(request, domain: domain) }
        return Response(status: .noContent)
    }

    /// A page of the pins that somebody may know of.
    func pins(_ query: Query, _ rights: Rights, _ limit: Int) async throws -> Response {
        Door.message(
            try await blocking {
                try repository.pinPage(
                    prefix: query["prefix"] ?? "", after: query["after"] ?? "", limit: limit,
                    domain: domain
                ) { pin in
                    pin.name.isEmpty ? rights.isAdministrator : rights.allows(.read, pin.name)
                }
            })
    }

    /// Sets and removes pins and rules.
    func keep(
        _ route: Route, _ query: Query, _ rights: Rights, _ body: ReusableBuffer
    ) async throws -> Response {
        let name = query["name"] ?? ""
        switch route {
        case .pin(let digest):
            return Door.message(
                try await blocking {
                    var request = try Door.decode(PinRequest.self, body)
                    request.provenance.subject = rights.subject
                    return try repository.pin(digest, name: name, request, domain: domain)
                })
        case .unpin(let digest):
            try await blocking {
                var request = try Door.decode(PinRequest.self, body)
                request.provenance.subject = rights.subject
                try repository.unpin(digest, name: name, request.provenance, domain: domain)
            }
            return Response(status: .noContent)
        case .setRule:
            return Door.message(
                try await blocking {
                    var rule = try Door.decode(RetentionRule.self, body)
                    rule.provenance.subject = rights.subject
                    return try repository.set(rule: rule, domain: domain)
                })
        case .removeRule:
            try await blocking {
                var rule = try Door.decode(RetentionRule.self, body)
                rule.provenance.subject = rights.subject
                try repository.remove(
                    rule: query["pattern"] ?? rule.pattern, rule.provenance, domain: domain)
            }
            return Response(status: .noContent)
        default:
            throw CASError(.internalError, "a request about rules or pins was expected")
        }
    }
}

extension Rights {
    /// Throws unless pins of a name, or of bare digests, may be set and removed.
    func requirePin(_ name: String) throws {
        if name.isEmpty {
            guard isAdministrator else {
                throw CASError(
                    .permissionDenied,
                    "only a token with the right 'admin' pins a digest without a name",
                    hint: "pin NAME@sha256:… with a name that the token may write")
            }
        } else {
            try require(.write, try RefName(name: name))
        }
    }
}
