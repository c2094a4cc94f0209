import ArgumentParser
import CASCore
import CASFileSystem
import CASRepository
import Glibc

/// The command line.
///
/// Commands are synchronous: an async main costs start-up time and drags in a
/// library that an executable for an empty root cannot have.
@main
struct CASCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cas",
        abstract: "Carries workspaces to where they run: by content, verified, only what is new.",
        usage: "cas COMMAND …",
        discussion: """
            EXAMPLES:
              cas push                        push this directory
              cas push src --to team/project  push a directory to a ref
              cas fetch team/project /work    bring it to a directory, or update it there
              cas run team/project -- python train.py

            A REF is NAME[:TAG], NAME@sha256:…, or sha256:…, each also as HOST/…
            Without a server (CAS_SERVER, --server) a store on this machine is used.
            A name that is no UTF-8, or holds a control character or a backslash, is shown with \\xNN for \
            its backslashes and for all bytes that are no printable ASCII, in JSON too.
            EXIT STATUS: 0 done, 1 failed, 2 there are findings or differences, 64 usage, \
            130 interrupted (Ctrl-C), 143 terminated; cas run ends with its command's.
            """,
        version: Software.version,
        groupedSubcommands: [
            CommandGroup(
                name: "Everyday",
                subcommands: [
                    PushCommand.self, FetchCommand.self, RunCommand.self, StatusCommand.self,
                    ListCommand.self, CatCommand.self, LogCommand.self,
                    DiffCommand.self, TagCommand.self, VerifyCommand.self, RemoveCommand.self,
                ]),
            CommandGroup(
                name: "Deliver",
                subcommands: [
                    RenderCommand.self, InjectCommand.self, SubmitCommand.self, RunsCommand.self,
                    PublishCommand.self, WatchCommand.self, WarmCommand.self,
                    KubernetesCommand.self,
                ]),
            CommandGroup(name: "Images and caches", subcommands: [ImageCommand.self]),
            CommandGroup(
                name: "Server",
                subcommands: [
                    ServeCommand.self, LoginCommand.self, TokenCommand.self, ConfigCommand.self,
                    DoctorCommand.self, UsageCommand.self,
                ]),
            CommandGroup(
                name: "Store",
                subcommands: [
                    CollectCommand.self, ScrubCommand.self, RepairCommand.self,
                    RebuildIndexCommand.self, PinCommand.self, UnpinCommand.self,
                    RuleCommand.self, WhyCommand.self, PurgeCommand.self, ExportCommand.self,
                    ImportCommand.self, CopyCommand.self,
                ]),
        ])

    /// How many files this process was allowed to open when it was started.
    ///
    /// `nonisolated(unsafe)`: set before any thread starts.
    nonisolated(unsafe) private(set) static var openFileLimit: UInt = 1024

    static func main() {
        Interruption.install()
        openFileLimit = Host.setOpenFileLimit()
        var running: (any ParsableCommand)?
        do {
            var command = try parseAsRoot()
            running = command
            try command.run()
        } catch {
            Glibc.exit(report(error, running))
        }
    }

    /// Prints an error in our form and says which status to exit with.
    private static func report(_ error: any Error, _ running: (any ParsableCommand)?) -> Int32 {
        if let error = error as? CASError {
            Console.failure(error)
            return 1
        }
        let code = exitCode(for: error)
        switch code {
        case .success: Console.data(fullMessage(for: error))
        case .validationFailure:
            // A list of what is allowed comes with a line for each.
            let lines = message(for: error).split(separator: "\n")
            let rest = lines.dropFirst().map { $0.drop { " -".contains($0) } }
            let line =
                ([lines.first ?? ""] + (rest.isEmpty ? [] : [rest.joined(separator: ", ")[...]]))
            Console.note("error: " + printable(line.joined(separator: " ")))
            Console.note("hint: \(commandPath(for: error, running)) --help")
        default:
            if !(error is ExitCode) { Console.failure(error) }
        }
        return code.rawValue
    }

    /// The command that was meant: `cas token create`.
    private static func commandPath(
        for error: any Error, _ running: (any ParsableCommand)?
    ) -> String {
        let usage =
            running.map { usageString(for: type(of: $0)) }
            ?? fullMessage(for: error).split(separator: "\n").map(String.init)
            .first { $0.hasPrefix("Usage: ") } ?? ""
        let words = usage.split { $0 == " " || $0 == "\n" }.drop { $0.lowercased() == "usage:" }
        let path = words.prefix { word in
            word.utf8.allSatisfy {
                $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") || $0 == UInt8(ascii: "-")
                    || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")
            } && !word.hasPrefix("-")
        }
        return path.isEmpty ? "cas" : path.joined(separator: " ")
    }
}

/// What a command found, as an exit status.
extension ExitCode {
    /// There are differences or findings.
    static let findings = ExitCode(2)
}
