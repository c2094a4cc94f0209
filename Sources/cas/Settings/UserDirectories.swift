import CASCore
import CASFileSystem
import Glibc

/// The user's directories (XDG Base Directory Specification 0.8).
struct UserDirectories: Sendable {
    let configuration: Setting<String>
    let data: Setting<String>
    let cache: Setting<String>

    init(_ environment: EnvironmentVariables) throws {
        let home = environment["HOME"] ?? UserDirectories.accountHome
        func directory(_ variable: String, _ fallback: String) throws -> Setting<String> {
            // The specification: a path that is not absolute is invalid and ignored.
            if let path = environment[variable], path.hasPrefix("/") {
                return Setting(FilePaths.join(path, "cas"), .environment(variable))
            }
            guard let home, home.hasPrefix("/") else {
                throw CASError(
                    .failedPrecondition, "the home directory of this user is unknown",
                    hint: "set HOME, or \(variable)")
            }
            return Setting(FilePaths.join(home, fallback + "/cas"), .builtIn)
        }
        configuration = try directory("XDG_CONFIG_HOME", ".config")
        data = try directory("XDG_DATA_HOME", ".local/share")
        cache = try directory("XDG_CACHE_HOME", ".cache")
    }

    /// The settings of this user.
    var userFile: String { FilePaths.join(configuration.value, "config.yaml") }
    /// The tokens of this user.
    var credentialsFile: String { FilePaths.join(configuration.value, "credentials") }
    /// Directories that `cas run` manages.
    var runDirectory: String { FilePaths.join(cache.value, "run") }

    // getpwuid reads /etc/passwd in a process that starts no threads before this is asked. A static
    // executable in an empty root gets nil and needs HOME only where it stores something.
    private static var account: passwd? { getpwuid(geteuid())?.pointee }

    /// The name of the user's account; nil where there is no account.
    static var accountName: String? { account?.pw_name.map { String(cString: $0) } }

    private static var accountHome: String? { account?.pw_dir.map { String(cString: $0) } }
}
