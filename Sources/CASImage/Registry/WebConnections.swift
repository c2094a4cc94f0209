package import CASClient
import Synchronization

/// Connections to all that registries lead to: themselves, services of tokens, stores of blobs.
package final class WebConnections: Sendable {
    private let trust: WebTrust
    private let open = Mutex<[WebOrigin: WebConnection]>([:])

    /// No connections yet.
    package init(_ trust: WebTrust) { self.trust = trust }

    /// Those to one origin.
    func connection(to origin: WebOrigin) throws -> WebConnection {
        try open.withLock { open in
            if let known = open[origin] { return known }
            let connection = try WebConnection(origin, trust)
            open[origin] = connection
            return connection
        }
    }

    /// Ends all of them.
    package func close() throws {
        let all = open.withLock { open in
            defer { open = [:] }
            return open.values.map { $0 }
        }
        for connection in all { try connection.close() }
    }
}
