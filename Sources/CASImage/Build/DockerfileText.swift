import CASCore
package import CASOCI

/// A Dockerfile that makes the same image of the same snapshots, fetched into its context.
package struct DockerfileText: CustomStringConvertible, Sendable {
    private let base: String
    private let owner: String
    private let workspaces: [(reference: String, directory: String)]
    private let options: ImageOptions
    private let directories: [EmptyDirectory]

    /// The file for a base, snapshots with their directories, and options; throws `unimplemented` for what no
    /// Dockerfile can say.
    package init(
        base: String, owner: String, workspaces: [(reference: String, directory: String)],
        options: ImageOptions, directories: [EmptyDirectory] = []
    ) throws {
        guard base != "scratch" || directories.isEmpty else {
            throw CASError(
                .unimplemented,
                "a Dockerfile on top of nothing has no way to make an empty directory",
                hint: "leave --directory out, or name a base with a shell")
        }
        // A line break ends an instruction, whatever quotes stand around it, and a comment.
        let pairs = [options.labels, options.annotations].flatMap { $0 }
        let texts =
            options.environment + pairs.flatMap { [$0.key, $0.value] } + [
                options.user, options.workingDirectory,
            ] + workspaces.map(\.directory)
        guard !texts.contains(where: { $0.utf8.contains { $0 < 0x20 } }) else {
            throw CASError(
                .unimplemented, "a Dockerfile has no way to say a value with a line break",
                hint: "cas image build takes it as it is")
        }
        self.directories = directories
        self.base = base
        self.owner = owner
        self.workspaces = workspaces
        self.options = options
    }

    /// Whether something is said of the image that only the builder's own flags can say.
    package var needsFlags: Bool { !options.annotations.isEmpty }

    /// The text, with a line break at its end.
    package var description: String {
        var lines = ["# Fill the context first:"]
        for (index, workspace) in workspaces.enumerated() {
            // Modes and times as those of layers: as the tree says, and nothing else.
            lines.append(
                "#   cas fetch --reproducible \(workspace.reference) layer\(index + 1)")
        }
        lines.append("# .dockerignore has to leave out: **/.cas")
        if needsFlags {
            lines.append("# Annotations are for the builder's command line:")
            for key in JSON.sorted(options.annotations.keys) {
                let pair = "\(key)=\(options.annotations[key] ?? "")"
                lines.append("#   --annotation \(DockerfileText.shellQuoted(pair))")
            }
        }
        lines.append("FROM \(base)")
        for (index, workspace) in workspaces.enumerated() {
            let paths = ["layer\(index + 1)/", directory(workspace.directory)]
            // Variables are expanded in these words, and quotes taken away, although they are JSON.
            let words = paths.map(DockerfileText.escaped)
            lines.append("COPY --chown=\(owner) \(DockerfileText.list(words))")
        }
        for directory in directories {
            let words = [
                "install", "-d", "-m", String(directory.mode, radix: 8), "-o", part(0), "-g",
                part(1),
                "/" + directory.path,
            ]
            lines.append("RUN \(DockerfileText.list(words))")
        }
        for variable in options.environment {
            let name = variable.prefix { $0 != "=" }
            let value = DockerfileText.quoted(variable.dropFirst(name.count + 1))
            lines.append("ENV \(DockerfileText.word(name))=\(value)")
        }
        for key in JSON.sorted(options.labels.keys) {
            let value = DockerfileText.quoted(options.labels[key] ?? "")
            lines.append("LABEL \(DockerfileText.quoted(key))=\(value)")
        }
        if !options.user.isEmpty { lines.append("USER \(DockerfileText.word(options.user))") }
        // What the base says of it is not known here.
        let start = options.workingDirectory.isEmpty ? workspaces.last?.directory : nil
        let directory = start ?? options.workingDirectory
        if !directory.isEmpty { lines.append("WORKDIR \(DockerfileText.word(directory))") }
        if let entrypoint = options.entrypoint {
            lines.append("ENTRYPOINT \(DockerfileText.list(entrypoint))")
        }
        if let command = options.command { lines.append("CMD \(DockerfileText.list(command))") }
        return lines.joined(separator: "\n") + "\n"
    }

    private func part(_ index: Int) -> String {
        let parts = owner.split(separator: ":")
        return index < parts.count ? String(parts[index]) : "0"
    }

    private func directory(_ path: String) -> String { path.hasSuffix("/") ? path : path + "/" }

    /// Words as JSON; those of a command are taken as they are.
    private static func list(_ words: [String]) -> String {
        String(decoding: JSON.texts(words).encode(), as: UTF8.self)
    }

    /// A text in which nothing is expanded or taken away, for where quotes would.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            if "\\\"'$".contains(character) { result.append("\\") }
            result.append(character)
        }
        return result
    }

    /// The same in quotes, so that spaces at its ends stay too.
    private static func quoted(_ text: some StringProtocol) -> String {
        var result = "\""
        for character in text {
            if "\\\"$".contains(character) { result.append("\\") }
            result.append(character)
        }
        return result + "\""
    }

    /// A text as it is where nothing in it means anything, else in quotes.
    private static func word(_ text: some StringProtocol) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20)
                || "/._-:+,@".utf8.contains(byte)
        }
        return isPlain ? String(text) : quoted(text)
    }

    /// A word of a shell's command line.
    private static func shellQuoted(_ text: String) -> String {
        "'" + text.replacing("'", with: "'\\''") + "'"
    }
}
