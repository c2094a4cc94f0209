import CASCore

/// The versions of the native protocol that one side speaks (Protocol.md, "Versions").
package struct ProtocolVersions: Hashable, Sendable, CustomStringConvertible {
    /// The header in which each side says so.
    package static let header = "cas-protocol"
    /// Those of this program.
    package static let own = ProtocolVersions(oldest: 1, newest: WireProtocol.version)
    /// Those of a program that says nothing: it is older than the header.
    package static let unsaid = ProtocolVersions(oldest: 1, newest: 1)

    /// The oldest version.
    package let oldest: UInt64
    /// The newest version.
    package let newest: UInt64

    /// A range of versions.
    package init(oldest: UInt64, newest: UInt64) {
        self.oldest = oldest
        self.newest = newest
    }

    /// Reads a header, `1` or `1-2`; nil for any other text.
    package init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { UInt64($0) }
        guard numbers.count == parts.count, numbers.count <= 2, let first = numbers.first,
            let last = numbers.last, first >= 1, first <= last
        else { return nil }
        self.init(oldest: first, newest: last)
    }

    /// The header's text.
    package var description: String { oldest == newest ? "\(oldest)" : "\(oldest)-\(newest)" }

    /// Throws `failedPrecondition`, which says which side to upgrade, where two sides have no version in
    /// common.
    package static func check(client: ProtocolVersions, server: ProtocolVersions) throws {
        guard client.newest < server.oldest || server.newest < client.oldest else { return }
        let isClientOld = client.newest < server.oldest
        throw CASError(
            .failedPrecondition,
            "this client speaks version \(client) of the protocol, and the server version \(server)",
            hint: isClientOld
                ? "upgrade the client (cas) to the version of the server"
                : "upgrade the server to the version of the client, or use an older client")
    }
}
