import CASCore
import CASFileSystem

/// Everything that is configured outside the command line.
struct Settings: Sendable {
    let environment: EnvironmentVariables
    let directories: UserDirectories
    let user: UserFile
    /// The project file nearest to the workspace; nil where there is none.
    let project: ProjectFile?

    /// Reads all of it.
    ///
    /// `workspace` is the directory that the search for a project file starts from;
    /// nil where a command has none.
    static func load(workspace: String? = nil) throws -> Settings {
        let environment = EnvironmentVariables.process
        let directories = try UserDirectories(environment)
        return Settings(
            environment: environment, directories: directories,
            user: try UserFile(path: directories.userFile),
            project: try workspace.flatMap { try ProjectFile.nearest(to: $0) })
    }

    /// The file with the authorities to trust beside the system's; nil for those alone.
    var authorityFile: Setting<String>? {
        if let path = environment["CAS_CA_FILE"] {
            return Setting(path, .environment("CAS_CA_FILE"))
        }
        return user.authorityFile.map { Setting($0, .userFile(user.path)) }
    }

    /// The directory of the node cache; nil for none.
    func cache(flag: String?) -> Setting<String>? {
        if let flag { return Setting(flag, .flag("--cache")) }
        return user.cache.map { Setting($0, .userFile(user.path)) }
    }

    /// How large the node cache may grow.
    func cacheSize(flag: UInt64?) -> Setting<UInt64> {
        if let flag { return Setting(flag, .flag("--cache-size")) }
        if let size = user.cacheSize { return Setting(size, .userFile(user.path)) }
        return Setting(10 << 30, .builtIn)
    }

    /// The image with cas in it that manifests name; nil where nobody said.
    func clientImage(flag: String?) -> Setting<String>? {
        if let flag { return Setting(flag, .flag("--client-image")) }
        if let image = environment["CAS_CLIENT_IMAGE"] {
            return Setting(image, .environment("CAS_CLIENT_IMAGE"))
        }
        return user.clientImage.map { Setting($0, .userFile(user.path)) }
    }

    /// New bytes that a push sends without `--large`.
    var limit: Setting<UInt64> {
        if let project, let limit = project.limit {
            return Setting(limit, .projectFile(project.path))
        }
        return Setting(2 << 30, .builtIn)
    }

    /// The ref that commands mean when none is given; nil where nobody said.
    var reference: Setting<String>? {
        environment["CAS_REF"].map { Setting($0, .environment("CAS_REF")) }
    }
}
