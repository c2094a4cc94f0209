import CASCore
import CASHTTP
import CASOCI
import CASWire

/// Who sends a request to the registry, and what it may do.
struct RegistryCaller: Sendable {
    /// What stands behind it.
    let caller: Caller
    /// What the bearer was issued for; nil where the token itself was sent, which is as wide as it is.
    let grants: [RegistryScope]?
    /// Whether no credentials came at all.
    let isAnonymous: Bool

    var subject: String { caller.subject }

    /// Whether what stands behind it allows something on a repository.
    private func ownerAllows(_ action: RegistryAction, _ name: String) -> Bool {
        caller.scopes.contains { $0.allows(action.verb, name) }
    }

    /// Whether something is allowed on a repository.
    func allows(_ action: RegistryAction, _ name: String) -> Bool {
        ownerAllows(action, name)
            && (grants.map { $0.contains { $0.name == name && $0.actions.contains(action) } }
                ?? true)
    }

    /// Whether it showed nothing and may read, and could push with a token.
    var couldLogIn: Bool {
        isAnonymous && !caller.scopes.contains { $0.allowsSomewhere(.write) }
    }

    /// Whether something is not allowed that a wider token would allow.
    func lacks(_ action: RegistryAction, _ name: String) -> Bool {
        ownerAllows(action, name) && !allows(action, name)
    }

    /// Whether the list of repositories is allowed: each caller sees what it may read.
    private var allowsCatalog: Bool {
        caller.scopes.contains { $0.allowsSomewhere(.read) }
            && (grants.map { $0.contains(.catalog) } ?? true)
    }

    /// The repositories that it is shown in lists.
    var visibleNames: VisibleNames { VisibleNames(caller.scopes) }

    /// What of the wanted it may have.
    func granted(_ wanted: [RegistryScope]) -> [RegistryScope] {
        wanted.compactMap { scope in
            guard let name = scope.name else {
                return caller.scopes.contains { $0.allowsSomewhere(.read) } ? scope : nil
            }
            let actions = scope.actions.filter { ownerAllows($0, name) }
            return actions.isEmpty ? nil : RegistryScope(name: name, actions: actions)
        }
    }

    /// Throws unless something is allowed.
    ///
    /// Whoever has shown nothing yet, or less than it could, is asked for credentials with the scope; whoever
    /// could not have more is refused. Neither says whether there is such a repository.
    func require(_ scope: RegistryScope, _ challenge: Challenge) throws {
        let isAllowed =
            scope.name.map { name in scope.actions.allSatisfy { allows($0, name) } }
            ?? allowsCatalog
        guard !isAllowed else { return }
        let words = scope.name.map { "'\($0)'" } ?? "the list of repositories"
        if isAnonymous { throw challenge.refusal("credentials are needed for \(words)", [scope]) }
        if grants != nil, granted([scope]) == [scope] {
            throw challenge.refusal(
                "the token was not issued for \(words)", [scope], isScopeMissing: true)
        }
        throw Refusal(
            .denied, "these credentials do not allow this on \(words)",
            detail: "cas doctor shows what a token may do")
    }
}
