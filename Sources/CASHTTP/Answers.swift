import CASCore
import CASRepository
import CASWire
import HTTPTypes
import Hummingbird
import NIOCore

extension Route {
    /// Bytes that the body may have; nil for a request without one.
    func bodyBytes(_ limits: Limits) -> Int? {
        switch self {
        case .upload, .commit: limits.requestBytes
        case .missing, .blobs:
            // The digests and what surrounds them.
            min(limits.requestBytes, limits.digestsPerRequest * Digest.byteCount + 1024)
        case .plan, .layers, .moveRef, .removeRef, .createToken, .maintain, .checkQuota, .pin,
            .unpin,
            .setRule, .removeRule:
            min(limits.requestBytes, limits.smallRequestBytes)
        default: nil
        }
    }
}

/// Answers to requests without a body.
extension Door {
    func answer(
        _ route: Route, _ query: Query, _ rights: Rights, _ request: Request,
        _ context: Context
    ) async throws -> Response {
        let limit =
            query["limit"].flatMap { Int($0) } ?? repository.configuration.limits.listingEntries
        switch route {
        case .describe:
            var description = try await blocking { try repository.describe(scopes: rights.scopes) }
            announcement.add(to: &description)
            description.clientDigest = clients?.current.digest
            description.clientBytes = clients?.current.size ?? 0
            return Door.message(description)
        case .abandon(let push):
            try await blocking { repository.abandon(push: push) }
            return Response(status: .noContent)
        case .planTree(let plan):
            return stream(
                "tree", context,
                try await blocking { try repository.treeRecords(plan: plan, domain: domain) })
        case .planData(let plan, let share, let count):
            return stream(
                "data", context,
                try await blocking {
                    try repository.dataRecords(plan: plan, share: share, of: count, domain: domain)
                })
        case .blob(let digest): return try await blob(digest, request, context)
        case .refs:
            return Door.message(
                try await blocking {
                    try refPage(
                        rights, prefix: query["prefix"] ?? "", after: query["after"] ?? "",
                        limit: limit)
                })
        case .ref(let name):
            guard let entry = try await ref(name, query, context) else {
                throw CASError(.notFound, "there is no ref '\(name)'")
            }
            return Door.message(entry)
        case .history(let name):
            return Door.message(
                try await blocking {
                    try repository.historyPage(
                        name, before: query["before"] ?? "", limit: limit, domain: domain)
                })
        case .images(let name): return Door.message(try await images(of: name, query, rights))
        case .client(let platform):
            return try await client(platform, query, request, context)
        case .usage:
            var report = try await blocking { try repository.usage(domain: domain) }
            report.rows.removeAll { !rights.allowsBelow(.read, $0.prefix) }
            return Door.message(report)
        case .pins: return try await pins(query, rights, limit)
        case .rules:
            return Door.message(
                RulePage(entries: try await blocking { try repository.rules(domain: domain) }))
        case .maintenance(let id): return try await maintenance(id, query, rights)
        case .tokens:
            return Door.message(TokenPage(entries: try await blocking { try repository.tokens() }))
        case .revokeToken(let identifier):
            try await blocking { try repository.revokeToken(identifier) }
            return Response(status: .noContent)
        default:
            throw CASError(.internalError, "a request without a body was expected to have one")
        }
    }
}

extension Door {
    /// What a ref names; with `wait`, once that is not the move `after` any more.
    private func ref(
        _ name: RefName, _ query: Query, _ context: Context
    ) async throws -> RefEntry? {
        guard let seconds = query["wait"].flatMap({ Int64($0) }), seconds > 0,
            let after = query["after"].flatMap({ UInt64($0) }), let waiter = waiters.join(name)
        else { return try await blocking { try repository.ref(name, domain: domain) } }
        defer { waiters.leave(waiter) }
        let loop = context.channel.eventLoop
        let end = loop.scheduleTask(
            in: .seconds(min(seconds, Int64(RefWaiters.maximumSeconds)))
        ) { waiter.finish() }
        // Another process may move refs of the same store.
        let look = TimeAmount.seconds(RefWaiters.lookSeconds)
        let ticks = loop.scheduleRepeatedTask(initialDelay: look, delay: look) { _ in waiter.wake()
        }
        defer {
            end.cancel()
            ticks.cancel()
        }
        while true {
            let entry = try await blocking { try repository.ref(name, domain: domain) }
            guard (entry?.sequence ?? 0) == after, await waiter.next() else { return entry }
        }
    }
}

/// Answers to requests with a body.
extension Door {
    func answer(
        _ route: Route, _ query: Query, _ rights: Rights, body: ReusableBuffer, _ context: Context
    ) async throws -> Response {
        switch route {
        case .missing(let push):
            return Door.message(
                try await blocking {
                    let list = try Door.decode(DigestList.self, body)
                    return MissingResponse(
                        missing: try repository.missing(list.digests, push: push, domain: domain))
                })
        case .upload(let push, let stream, let sequence):
            try await blocking {
                try blamingRecords(body.bytes) {
                    try repository.upload(
                        push: push, stream: stream, sequence: sequence, records: body.bytes,
                        trusted: false, domain: domain)
                }
            }
            return Response(status: .noContent)
        case .commit(let push): return try await commit(push, query, rights, body)
        case .plan:
            return Door.message(
                try await blocking {
                    let request = try Door.decode(PlanRequest.self, body)
                    var renews = true
                    switch try Reference(request.want).target {
                    case .ref(let name): try rights.require(.read, name)
                    // Anybody may fetch a digest, but only who may read a name keeps its refs alive.
                    case .digest(_, let name):
                        renews = name.map { rights.allows(.read, $0) } ?? false
                    }
                    return try repository.plan(request, renews: renews, domain: domain)
                })
        case .layers: return try await layers(rights, body)
        case .blobs:
            return stream(
                "blobs", context,
                try await blocking {
                    let list = try Door.decode(DigestList.self, body)
                    return try repository.blobRecords(
                        list.digests, listsOnly: query["lists"] == "1", domain: domain)
                })
        case .moveRef(let name):
            let entry = try await blocking {
                var update = try Door.decode(RefUpdate.self, body)
                update.provenance.subject = rights.subject
                try rights.requireBase(of: update.imageOptions)
                return try repository.setRef(name, update, domain: domain)
            }
            waiters.moved(name)
            return Door.message(entry)
        case .removeRef(let name):
            try await blocking {
                var update = try Door.decode(RefUpdate.self, body)
                update.provenance.subject = rights.subject
                try repository.removeRef(
                    name, update.precondition, update.provenance, domain: domain)
            }
            waiters.moved(name)
            return Response(status: .noContent)
        case .checkQuota: return try await checkQuota(rights, body)
        case .pin, .unpin, .setRule, .removeRule:
            return try await keep(route, query, rights, body)
        case .maintain: return try await maintain(body, rights)
        case .createToken:
            return Door.message(
                try await blocking {
                    try repository.createToken(try Door.decode(TokenRequest.self, body))
                })
        default:
            throw CASError(.internalError, "a request with a body was not expected")
        }
    }

    private func commit(
        _ push: Identifier, _ query: Query, _ rights: Rights, _ body: ReusableBuffer
    ) async throws -> Response {
        let response = try await blocking {
            var (request, records) = try Door.blamingRequest {
                try CommitBody.split(body, repository.configuration.limits)
            }
            guard request.pushID == push,
                query["ref"].map({ $0 == request.ref.description }) ?? true
            else {
                throw CASError(
                    .invalidArgument, "the body of the commit is not about what its address says")
            }
            for request in request.all {
                try rights.require(.write, request.ref)
                try rights.requireBase(of: request.imageOptions)
                try rights.requireWriting(request.images)
            }
            request.provenance.subject = rights.subject
            for index in request.others.indices {
                request.others[index].provenance.subject = rights.subject
            }
            let response = try blamingRecords(records) {
                try repository.commit(request, records: records, trusted: false, domain: domain)
            }
            for (request, response) in zip(request.all, [response] + response.others)
            where response.outcome == .done { waiters.moved(request.ref) }
            return response
        }
        return Door.message(response, status: response.outcome == .conflict ? .conflict : .ok)
    }
}
