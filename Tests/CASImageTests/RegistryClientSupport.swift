import CASClient
import CASCore
import CASTestSupport

@testable import CASImage

extension LoopbackRegistry {
    /// A client of one of its repositories.
    func client(
        _ name: String = "team/app", credential: RegistryCredential? = nil
    ) throws -> RegistryClient {
        RegistryClient(
            try RegistryLocation(host: try server.host), name: name, connections: connections
        ) { credential }
    }

    /// So many bytes, always the same.
    static func sample(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 / 3) }
    }
}
