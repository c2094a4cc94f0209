import CASCore

/// Work that keeps all processors busy: one piece after the other, each once for all who ask for it meanwhile.
///
/// Who waits holds no thread.
actor QueuedWork<Key: Hashable & Sendable, Value: Sendable> {
    /// Pieces that are done or wait at once at most.
    private static var maximumWaiting: Int { 256 }

    private var running: [Key: Task<Value, any Error>] = [:]
    private var last: Task<Void, Never>?

    /// What `body` gives for a key, called once for all who want the same at a time; nil after so many seconds in
    /// which it is not done.
    ///
    /// Without seconds it waits for as long as it takes. Throws `unavailable` where too much waits.
    func answer(
        _ key: Key, within seconds: Int64?, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value? {
        let task = try running[key] ?? start(key, body)
        guard let seconds else { return try await task.value }
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
        return running[key] == task ? nil : try await task.value
    }

    private func start(
        _ key: Key, _ body: @escaping @Sendable () async throws -> Value
    ) throws -> Task<Value, any Error> {
        guard running.count < Self.maximumWaiting else {
            throw CASError(
                .unavailable, "too many images are being made", hint: "try again in a minute")
        }
        let before = last
        let task = Task {
            await before?.value
            let result: Result<Value, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            running[key] = nil
            return try result.get()
        }
        running[key] = task
        last = Task { _ = await task.result }
        return task
    }
}
