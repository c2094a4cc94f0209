import CASWire

/// What a server tells of itself beside what its store tells.
package struct ServerAnnouncement: Sendable {
    /// The address that people reach it by; empty for none, as the texts below.
    package var publicURL = ""
    /// The address that pods of its cluster reach it by.
    package var clusterURL = ""
    /// The host, and port, that nodes pull images from.
    package var registryHost = ""
    /// Whom identity tokens must be for; empty if no issuer is trusted.
    package var audience = ""
    /// What a request from another machine may do without a token.
    package var anonymous = ""

    /// Nothing to tell.
    package init() {}

    /// Adds it to a description.
    func add(to description: inout StoreDescription) {
        description.publicURL = publicURL
        description.clusterURL = clusterURL
        description.registryHost = registryHost
        description.audience = audience
        description.anonymous = anonymous
    }
}
