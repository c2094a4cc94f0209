import Glibc

/// The environment of this process, read once by name; an empty variable is unset.
struct EnvironmentVariables: Sendable {
    private let lookUp: @Sendable (String) -> String?

    /// The environment of this process.
    static let process = EnvironmentVariables { name in
        getenv(name).map { String(cString: $0) }
    }

    init(_ lookUp: @escaping @Sendable (String) -> String?) {
        self.lookUp = lookUp
    }

    /// The value of a variable; nil where it is unset or empty.
    subscript(name: String) -> String? {
        guard let value = lookUp(name), !value.isEmpty else { return nil }
        return value
    }

    /// The variable that says that this machine is thrown away after the job, if one does.
    var throwawayMachine: String? {
        ["KUBERNETES_SERVICE_HOST", "CI"].first {
            guard let value = self[$0] else { return false }
            return value != "false" && value != "0"
        }
    }

    /// Who runs this, for names and for the history of a ref.
    var user: String {
        self["USER"] ?? self["LOGNAME"] ?? UserDirectories.accountName ?? "user"
    }
}
