import CASCore
import CASRepository
import CASWire
import Hummingbird

/// Layers that are made now, one request after the other, as each keeps all processors busy; who waits for some holds no
/// thread.
actor LayerWork {
    /// How long a request waits: less than clients and proxies do for an answer.
    static let seconds: Int64 = 40

    private var running: [LayersRequest: Task<LayersResponse?, any Error>] = [:]
    private var last: Task<Void, Never>?

    /// What `body` answers to a request, called once for all who want the same at a time; nil after a while in which
    /// it is not done.
    func answer(
        _ request: LayersRequest, seconds: Int64 = LayerWork.seconds,
        _ body: @escaping @Sendable () async throws -> LayersResponse?
    ) async throws -> LayersResponse? {
        let task = running[request] ?? start(request, body)
        let wait = AsyncStream<Never>.makeStream()
        let end = Task {
            _ = await task.result
            wait.continuation.finish()
        }
        let clock = Task {
            // Cancelled, it has nothing to say any more.
            do { try await Task.sleep(for: .seconds(seconds)) } catch {}
            wait.continuation.finish()
        }
        for await _ in wait.stream {}
        clock.cancel()
        end.cancel()
        return running[request] == task ? nil : try await task.value
    }

    private func start(
        _ request: LayersRequest, _ body: @escaping @Sendable () async throws -> LayersResponse?
    ) -> Task<LayersResponse?, any Error> {
        let before = last
        let task = Task {
            await before?.value
            let result: Result<LayersResponse?, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            running[request] = nil
            return try result.get()
        }
        running[request] = task
        last = Task { _ = await task.result }
        return task
    }
}

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
        let made = try await shared.layers.answer(request) { [shared, domain] in
            try await shared.blocking { try shared.repository.layers(request, domain: domain) }
        }
        return Door.message(made ?? .unfinished)
    }
}
