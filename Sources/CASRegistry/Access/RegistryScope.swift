import CASCore
import CASWire

/// What clients of registries call a right.
enum RegistryAction: String, Sendable, CaseIterable {
    case pull
    case push
    case delete

    /// The right of cas that it is.
    var verb: TokenVerb {
        switch self {
        case .pull: .read
        case .push: .write
        case .delete: .delete
        }
    }
}

/// `repository:team/project:pull,push` or `registry:catalog:*`, as token requests and challenges have it.
struct RegistryScope: Hashable, Sendable, CustomStringConvertible {
    /// The repository; nil for the catalog.
    var name: String?
    /// What is wanted, or granted.
    var actions: Set<RegistryAction>

    init(name: String?, actions: Set<RegistryAction>) {
        self.name = name
        self.actions = actions
    }

    /// The list of all repositories.
    static let catalog = RegistryScope(name: nil, actions: [.pull])

    /// Parses a scope; nil for one of another kind, which grants nothing.
    ///
    /// The name may have a class behind its type, `repository(plugin):`, which means nothing here.
    init?(_ text: some StringProtocol) {
        guard let first = text.firstIndex(of: ":"), let last = text.lastIndex(of: ":"), first < last
        else { return nil }
        let type = text[..<first].prefix { $0 != "(" }
        let name = String(text[text.index(after: first)..<last])
        let words = text[text.index(after: last)...].split(separator: ",")
        switch type {
        case "registry" where name == "catalog": self = .catalog
        case "repository" where RefName.isName(name):
            let actions = words.flatMap { word in
                word == "*"
                    ? RegistryAction.allCases
                    : RegistryAction(rawValue: String(word)).map { [$0] } ?? []
            }
            self.init(name: name, actions: Set(actions))
        default: return nil
        }
    }

    /// Parses several, separated by spaces.
    static func list(_ text: String) -> [RegistryScope] {
        text.split(separator: " ").compactMap { RegistryScope($0) }
    }

    /// The scope as it is written.
    var description: String {
        guard let name else { return "registry:catalog:*" }
        let words = RegistryAction.allCases.filter(actions.contains).map(\.rawValue)
        return "repository:\(name):\(words.joined(separator: ","))"
    }
}
