/// What tells a registry who asks.
package enum RegistryCredential: Hashable, Sendable {
    /// A user and a password.
    case basic(user: String, password: String)
    /// A token for the service that gives tokens.
    case identityToken(String)
    /// A token for the registry itself.
    case bearer(String)
}
