import CASCore
import CASRepository
import CASWire
import Hummingbird

/// Answers about layers of snapshots.
extension Door {
    func layers(_ rights: Rights, _ body: ReusableBuffer) async throws -> Response {
        let request = try Door.decode(LayersRequest.self, body)
        if case .ref(let name) = try Reference(request.want).target {
            try rights.require(.read, name)
        } else {
            try rights.requireSomewhere(.read)
        }
        if !request.name.isEmpty { try rights.require(.write, try RefName(name: request.name)) }
        let known = try await blocking {
            try repository.layers(request, isKnownOnly: true, domain: domain)
        }
        if let known { return Door.message(known) }
        let made = try await shared.layers.answer(
            request, within: SharedResources.makingSeconds
        ) { [shared, domain] in
            try await shared.blocking { try shared.repository.layers(request, domain: domain) }
        }
        return Door.message((made ?? nil) ?? .unfinished)
    }
}
