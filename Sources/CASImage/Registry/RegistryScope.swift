/// What a token lets its bearer do with a repository.
struct RegistryScope: Hashable, Sendable, CustomStringConvertible {
    /// The repository.
    var name: String
    /// Whether it may be written too.
    var isPush: Bool

    /// To read a repository.
    static func pull(_ name: String) -> RegistryScope { RegistryScope(name: name, isPush: false) }
    /// To read and write a repository.
    static func push(_ name: String) -> RegistryScope { RegistryScope(name: name, isPush: true) }

    /// `repository:NAME:pull,push`.
    var description: String { "repository:\(name):pull" + (isPush ? ",push" : "") }
}
