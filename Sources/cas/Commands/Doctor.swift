import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASRepository
import CASWire

/// `cas doctor`.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check this installation: server, rights, clock, versions.",
        discussion: """
            Also when the store was last collected and read through, what that found, and how much space its disk \
            and its reserve have. The exit status is 2 if something is wrong.

            EXAMPLES:
              cas doctor
              cas doctor --store /srv/cas
              cas doctor --server https://cas.example.com --json
            """)

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    enum State: String {
        case good = "ok"
        case bad = "BAD"
    }

    struct Finding {
        let state: State
        let subject: String
        let text: String
        var hint: String?
        /// Numbers and times for `--json`.
        var figures: [(String, JSONText)] = []

        var json: JSONText {
            .object(
                [
                    ("subject", .text(subject)), ("ok", .boolean(state == .good)),
                    ("text", .text(text)), ("hint", .optional(hint)),
                ] + figures)
        }
    }

    func run() throws {
        var findings = [Finding(state: .good, subject: "version", text: Software.version)]
        do {
            let settings = try Settings.load()
            findings += credentialFindings(settings)
            // What has been said of the credentials is not said again of the server.
            let said = Set(findings.map(\.text))
            findings += storeFindings(settings).filter { !said.contains($0.text) }
        } catch {
            findings.append(DoctorCommand.finding("settings", error))
        }
        if output.json {
            Console.data(.list(findings.map(\.json)))
        } else {
            var table = TextTable(.left, .left, .left)
            for finding in findings {
                table.add(finding.state.rawValue, finding.subject, printable(finding.text))
                if let hint = finding.hint { table.add("", "", "hint: " + printable(hint)) }
            }
            Console.data(lines: table.lines())
        }
        if findings.contains(where: { $0.state == .bad }) { throw ExitCode.findings }
    }

    static func finding(_ subject: String, _ error: any Error) -> Finding {
        let known = error as? CASError
        return Finding(
            state: .bad, subject: subject, text: known?.description ?? "\(error)", hint: known?.hint
        )
    }

    private func credentialFindings(_ settings: Settings) -> [Finding] {
        do {
            var parts: [String] = []
            let variables = ["CAS_TOKEN", "CAS_TOKEN_FILE"]
            if let variable = variables.first(where: { settings.environment[$0] != nil }) {
                let host = try settings.environment["CAS_SERVER"].map { try ServerAddress($0) }
                parts.append(
                    host.map { "\(variable) for \($0.authority)" }
                        ?? "\(variable), which goes nowhere as CAS_SERVER is not set")
            }
            let credentials = try Credentials(path: settings.directories.credentialsFile)
            if !credentials.hosts.isEmpty {
                let hosts = credentials.hosts.sorted().joined(separator: ", ")
                parts.append((parts.isEmpty ? "for " : "kept ones for ") + hosts)
            }
            let text = parts.isEmpty ? "none" : parts.joined(separator: "; ")
            return [Finding(state: .good, subject: "credentials", text: text)]
        } catch { return [DoctorCommand.finding("credentials", error)] }
    }

    private func storeFindings(_ settings: Settings) -> [Finding] {
        let choice: StoreChoice
        do {
            choice = try StoreChoice.choose(
                serverFlag: storeFlags.server, storeFlag: storeFlags.store, host: nil,
                settings: settings)
        } catch { return [DoctorCommand.finding("store", error)] }
        var findings: [Finding] = []
        do {
            let start = SystemClock().monotonicNanoseconds()
            try storeFlags.withStore(settings: settings) { store in
                let description = try store.connection.describe()
                let elapsed = SystemClock().monotonicNanoseconds() - start
                findings.append(
                    Finding(
                        state: .good, subject: store.connection.isLocal ? "store" : "server",
                        text: "\(choice.text) (\(choice.origin.text)) answers in "
                            + duration(nanoseconds: elapsed)))
                findings += describe(description, isLocal: store.connection.isLocal)
                findings += careFindings(store.connection)
            }
        } catch {
            let isAbsentDefault =
                (error as? CASError)?.code == .notFound && choice.origin == .builtIn
            if isAbsentDefault {
                let text = "\(choice.text) (default) does not exist yet; cas push creates it"
                findings.append(Finding(state: .good, subject: "store", text: text))
            } else {
                findings.append(
                    DoctorCommand.finding(DoctorCommand.subject(of: error, choice), error))
            }
        }
        return findings
    }

    /// What an error of a store is about.
    private static func subject(of error: any Error, _ choice: StoreChoice) -> String {
        guard case .server = choice else { return "store" }
        let error = error as? CASError
        let text = error?.message ?? ""
        if text.contains("_PROXY ") || text.hasPrefix("the proxy ") { return "proxy" }
        if text.contains("certificates") { return "ca-file" }
        if text.contains("certificate") { return "certificate" }
        switch error?.code {
        case .unauthenticated, .permissionDenied: return "rights"
        default: return text.contains("CAS_TOKEN") || text.contains("token") ? "token" : "server"
        }
    }

    private func describe(_ description: StoreDescription, isLocal: Bool) -> [Finding] {
        guard !isLocal else { return [] }
        var findings: [Finding] = []
        let speaks = description.protocolVersion >= ProtocolVersions.own.oldest
        findings.append(
            Finding(
                state: speaks ? .good : .bad, subject: "protocol",
                text: "server \(description.softwareVersion) speaks version "
                    + "\(description.protocolVersion), this is version \(WireProtocol.version)",
                hint: speaks ? nil : "use the same version of cas on both sides"))
        let skew = description.now.seconds - SystemClock().now().seconds
        findings.append(
            Finding(
                state: abs(skew) <= 60 ? .good : .bad, subject: "clock",
                text: abs(skew) <= 1
                    ? "agrees with the server's"
                    : "the server's is \(abs(skew)) s \(skew > 0 ? "ahead" : "behind")",
                hint: abs(skew) <= 60 ? nil : "set the clocks; tokens expire by the server's"))
        let rights = description.scopes.map(\.description).joined(separator: " ")
        findings.append(
            Finding(
                state: rights.isEmpty ? .bad : .good, subject: "rights",
                text: rights.isEmpty ? "none" : rights,
                hint: rights.isEmpty ? "log in with cas login, or set CAS_TOKEN" : nil))
        return findings + addresses(description)
    }

    /// What the server tells of itself: for people, for pods, for nodes.
    private func addresses(_ description: StoreDescription) -> [Finding] {
        [
            ("public-url", description.publicURL), ("cluster-url", description.clusterURL),
            ("registry", description.registryHost),
            (
                "identity",
                description.audience.isEmpty
                    ? "" : "trusts tokens that are for '\(description.audience)'"
            ),
        ].filter { !$0.1.isEmpty }.map { Finding(state: .good, subject: $0.0, text: $0.1) }
    }
}
