import ArgumentParser
import CASCore
import CASFileSystem

/// `cas config`.
struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Show every setting and where it comes from.",
        discussion: """
            Strongest first: flag, environment, project file (cas.yaml at or above the workspace), user \
            file, default. Tokens are never shown.

            EXAMPLES:
              cas config
              cas config src --json
            """)

    @Argument(help: ArgumentHelp("The workspace whose project file counts.", valueName: "dir"))
    var directory = "."

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    private struct Line {
        let key: String
        let value: String?
        let origin: String
        /// The same as bytes, for programs.
        var bytes: UInt64?
    }

    func run() throws {
        let settings = try Settings.load(workspace: try Host.resolve(directory))
        var lines = try storeLines(settings)
        lines += projectLines(settings)
        let cache = settings.cache(flag: nil)
        lines.append(
            Line(key: "cache", value: cache?.value, origin: cache?.origin.text ?? "default"))
        let size = settings.cacheSize(flag: nil)
        lines.append(
            Line(
                key: "cache-size", value: ByteCount.text(size.value), origin: size.origin.text,
                bytes: size.value))
        if let authorities = settings.authorityFile {
            lines.append(
                Line(key: "ca-file", value: authorities.value, origin: authorities.origin.text))
        }
        if let image = settings.clientImage(flag: nil) {
            lines.append(Line(key: "client-image", value: image.value, origin: image.origin.text))
        }
        for (key, path, origin) in [
            ("user-file", settings.user.path, settings.directories.configuration.origin),
            (
                "credentials", settings.directories.credentialsFile,
                settings.directories.configuration.origin
            ),
            ("data", settings.directories.data.value, settings.directories.data.origin),
            (
                "cache-directory", settings.directories.cache.value,
                settings.directories.cache.origin
            ),
        ] {
            lines.append(Line(key: key, value: path, origin: origin.text))
        }
        if output.json {
            return Console.data(
                .object(
                    lines.map {
                        (
                            $0.key,
                            .object([
                                ("value", $0.bytes.map { .count($0) } ?? .optional($0.value)),
                                ("from", .text($0.origin)),
                            ])
                        )
                    }))
        }
        var table = TextTable(.left, .left, .left)
        for line in lines { table.add(line.key, printable(line.value ?? "-"), "(\(line.origin))") }
        Console.data(lines: table.lines())
    }

    private func storeLines(_ settings: Settings) throws -> [Line] {
        let choice = try StoreChoice.choose(
            serverFlag: storeFlags.server, storeFlag: storeFlags.store, host: nil,
            settings: settings)
        switch choice {
        case .directory(let path, let origin, _):
            return [Line(key: "store", value: path, origin: origin.text)]
        case .server(let address, let origin):
            let tokens = try TokenSource(for: address, settings: settings)
            let proxy = try ProxyAddress.choose(for: address, settings.environment)
            var lines = [
                Line(key: "server", value: address.url, origin: origin.text),
                Line(
                    key: "token", value: tokens.origin == nil ? nil : "(set)",
                    origin: tokens.origin?.text ?? tokens.withheld ?? "none"),
            ]
            if let proxy {
                lines.append(Line(key: "proxy", value: proxy.value.text, origin: proxy.origin.text))
            }
            return lines
        }
    }

    private func projectLines(_ settings: Settings) -> [Line] {
        var lines: [Line] = []
        if let reference = settings.reference {
            lines.append(Line(key: "ref", value: reference.value, origin: reference.origin.text))
        }
        let project = settings.project
        let path = project?.path ?? "default"
        var origin = project?.to == nil ? "default" : path
        if let project, let to = project.to {
            do { _ = try project.ref(to) } catch {
                origin = "BAD: " + printable((error as? CASError)?.message ?? "\(error)")
            }
        }
        lines.append(Line(key: "to", value: project?.to, origin: origin))
        for (key, values) in [
            ("include", project?.includes ?? []), ("exclude", project?.excludes ?? []),
        ] where !values.isEmpty {
            lines.append(Line(key: key, value: values.joined(separator: " "), origin: path))
        }
        lines.append(
            Line(
                key: "limit", value: ByteCount.text(settings.limit.value),
                origin: settings.limit.origin.text, bytes: settings.limit.value))
        for other in project?.others ?? [] {
            lines.append(Line(key: other.key, value: other.text, origin: path))
        }
        return lines
    }
}
