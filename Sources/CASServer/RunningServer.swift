import CASCore
import CASFileSystem
import CASRepository
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// How far a server came.
final class ServerProgress: Sendable {
    /// Whether it ever took connections.
    let hasServed = Atomic(false)
}

/// A server in this process.
package final class RunningServer: Sendable {
    /// The store that is served, and the lock that says so.
    struct Store: Sendable {
        let repository: Repository
        let use: FileLock
        let background: BackgroundWork
    }

    private struct State {
        var isEnded = false
        var failure: (any Error)?
        var address = ""
        var onEnd: (@Sendable () -> Void)?
    }
    private let state = Mutex(State())
    private let ended = BoundedQueue<Bool>(capacity: 1)
    private let group: ServiceGroup
    private let store: Mutex<Store?>
    private let configuration: ServerConfiguration

    init(
        _ configuration: ServerConfiguration, _ store: Store, _ pool: NIOThreadPool,
        _ group: ServiceGroup, _ logger: Logger, _ progress: ServerProgress
    ) {
        self.configuration = configuration
        self.store = Mutex(store)
        self.group = group
        pool.start()
        Task.detached { [self] in
            var failure: (any Error)?
            do { try await group.run() } catch { failure = error }
            // Waits for commits that run, whatever became of the connections that asked for them.
            do { try await pool.shutdownGracefully() } catch { failure = failure ?? error }
            if progress.hasServed.load(ordering: .acquiring) { logger.info("stopped") }
            finish(failure)
        }
    }

    /// Where it is reached, once it takes connections.
    package var address: String { state.withLock { $0.address } }

    func setAddress(_ address: String) { state.withLock { $0.address = address } }

    func whenEnded(_ body: @escaping @Sendable () -> Void) {
        let isEnded = state.withLock { state in
            state.onEnd = body
            return state.isEnded
        }
        if isEnded { body() }
    }

    /// Finishes what is in progress, or cuts it off when the time for that is over; closes the store.
    package func stop() throws {
        Task.detached { [group] in await group.triggerGracefulShutdown() }
        try wait()
    }

    /// Waits for the end and closes the store; called once.
    func wait() throws {
        _ = try ended.take()
        try store.withLock { store in
            defer { store = nil }
            store?.background.stop()
            try store?.repository.close()
        }
        if let failure = state.withLock({ $0.failure }) { throw explain(failure) }
    }

    private func finish(_ failure: (any Error)?) {
        let onEnd = state.withLock { state in
            state.isEnded = true
            // Cut off on purpose, or because the time for a shutdown was over.
            state.failure = failure is CancellationError ? nil : failure
            return state.onEnd
        }
        ended.close()
        onEnd?()
    }

    private func explain(_ error: any Error) -> any Error {
        if error is CASError { return error }
        let what = "the server can not listen on \(configuration.host):\(configuration.port)"
        switch error {
        case let error as IOError where error.errnoCode == EADDRINUSE:
            return CASError(
                .unavailable, "\(what): another program uses the port",
                hint: "--listen 127.0.0.1:0 takes a free one")
        case let error as IOError where error.errnoCode == EACCES:
            return CASError(
                .permissionDenied, "\(what): this user may not",
                hint: "ports below 1024 are the administrator's; take another one")
        case let error as IOError where error.errnoCode == EADDRNOTAVAIL:
            return CASError(.invalidArgument, "\(what): it is no address of this machine")
        case is SocketAddressError, is SocketAddressError.UnknownHost:
            return CASError(.invalidArgument, "\(what): there is no such host")
        default: return CASError(.unavailable, what, cause: error)
        }
    }
}
