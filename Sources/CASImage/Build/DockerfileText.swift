package import CASOCI

/// A Dockerfile that makes the same image of the same snapshots, fetched into its context.
package struct DockerfileText: CustomStringConvertible, Sendable {
    private let base: String
    private let owner: String
    private let workspaces: [(reference: String, directory: String)]
    private let options: ImageOptions

    /// The file for a base, snapshots with their directories, and options.
    package init(
        base: String, owner: String, workspaces: [(reference: String, directory: String)],
        options: ImageOptions
    ) {
        self.base = base
        self.owner = owner
        self.workspaces = workspaces
        self.options = options
    }

    /// The text, with a line break at its end.
    package var description: String {
        var lines = ["# Fill the context first:"]
        for (index, workspace) in workspaces.enumerated() {
            lines.append("#   cas fetch \(workspace.reference) layer\(index + 1)")
        }
        lines += ["# .dockerignore has to leave out: **/.cas", "FROM \(base)"]
        for (index, workspace) in workspaces.enumerated() {
            let paths = ["layer\(index + 1)/", directory(workspace.directory)]
            lines.append("COPY --chown=\(owner) \(DockerfileText.list(paths))")
        }
        for variable in options.environment {
            let name = variable.prefix { $0 != "=" }
            lines.append("ENV \(name)=\(DockerfileText.quoted(variable.dropFirst(name.count + 1)))")
        }
        for key in JSON.sorted(options.labels.keys) {
            let value = DockerfileText.quoted(options.labels[key] ?? "")
            lines.append("LABEL \(DockerfileText.quoted(key))=\(value)")
        }
        if !options.user.isEmpty { lines.append("USER \(options.user)") }
        // What the base says of it is not known here.
        let start = options.workingDirectory.isEmpty ? workspaces.last?.directory : nil
        let directory = start ?? options.workingDirectory
        if !directory.isEmpty { lines.append("WORKDIR \(directory)") }
        if let entrypoint = options.entrypoint {
            lines.append("ENTRYPOINT \(DockerfileText.list(entrypoint))")
        }
        if let command = options.command { lines.append("CMD \(DockerfileText.list(command))") }
        return lines.joined(separator: "\n") + "\n"
    }

    private func directory(_ path: String) -> String { path.hasSuffix("/") ? path : path + "/" }

    /// Words as JSON, in which a Dockerfile expands no variable.
    private static func list(_ words: [String]) -> String {
        String(decoding: JSON.texts(words).encode(), as: UTF8.self)
    }

    private static func quoted(_ text: some StringProtocol) -> String {
        var result = "\""
        for character in text {
            if "\\\"$".contains(character) { result.append("\\") }
            result.append(character)
        }
        return result + "\""
    }
}
