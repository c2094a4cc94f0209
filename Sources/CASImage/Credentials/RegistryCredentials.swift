import CASCore
import CASFileSystem

/// The credentials of a user for registries, from the files in which docker and podman keep them.
package struct RegistryCredentials: Sendable {
    private let paths: [String]

    /// The files that an environment names, strongest first: REGISTRY_AUTH_FILE alone if it is set, else
    /// that of DOCKER_CONFIG, podman's of this session and of the user, and docker's of the user.
    package init(environment: (String) -> String?, user: UInt32) {
        func below(_ variable: String, _ path: String) -> String? {
            environment(variable).map { FilePaths.join($0, path) }
        }
        if let file = environment("REGISTRY_AUTH_FILE") {
            paths = [file]
            return
        }
        let found = [
            below("DOCKER_CONFIG", "config.json"),
            below("XDG_RUNTIME_DIR", "containers/auth.json")
                ?? "/run/containers/\(user)/auth.json",
            below("XDG_CONFIG_HOME", "containers/auth.json")
                ?? below("HOME", ".config/containers/auth.json"),
            below("HOME", ".docker/config.json"),
        ]
        paths = found.compactMap { $0 }
    }

    /// What the first file that knows it says for a repository of a registry; nil for nothing.
    package func credential(host: String, name: String) throws -> RegistryCredential? {
        for path in paths {
            let file: DockerConfiguration?
            do { file = try DockerConfiguration(path: path) } catch let error as CASError
                where error.code == .permissionDenied
            {
                // Podman's file of root, seen by somebody else.
                continue
            }
            if let found = try file?.credential(host: host, name: name) { return found }
        }
        return nil
    }
}
