import CASCore
import CASFileSystem

/// The user's own kubectl: `cas` has no client of the Kubernetes API and no credentials for one.
struct Kubectl {
    /// What a call printed and how it ended.
    struct Output {
        let status: Int32
        let output: String
        let errors: String
    }

    /// Bytes of one answer at most; a list of all runtimes of a large cluster has a few megabytes.
    private static let maximumBytes = 64 << 20

    let path: String
    /// The namespace of every call; nil for that of the user's context.
    var namespace: String?

    /// Finds kubectl on the PATH.
    static func find(_ environment: EnvironmentVariables, namespace: String?) throws -> Kubectl {
        for folder in (environment["PATH"] ?? "").split(separator: ":") where folder.hasPrefix("/")
        {
            let path = FilePaths.join(String(folder), "kubectl")
            guard let status = try DiskFileSystem().status(path), status.kind == .regular,
                status.permissions & 0o111 != 0
            else { continue }
            return Kubectl(path: path, namespace: namespace)
        }
        throw CASError(
            .notFound, "there is no kubectl on the PATH",
            hint: "install it, or print the manifest with cas render and apply it elsewhere")
    }

    /// Runs kubectl to its end, whatever that is; `input` is its standard input.
    func run(_ arguments: [String], input: String = "") throws -> Output {
        let result = try ProgramCall.run(
            words(arguments), input: Array(input.utf8), maximumBytes: Self.maximumBytes)
        return Output(
            status: result.status, output: String(decoding: result.output, as: UTF8.self),
            errors: String(decoding: result.errors, as: UTF8.self))
    }

    /// Runs kubectl and throws in its words if it refuses.
    @discardableResult
    func check(_ arguments: [String], input: String = "", what: String) throws -> String {
        let result = try run(arguments, input: input)
        guard result.status == 0 else { throw refusal(result, what: what) }
        return result.output
    }

    /// Runs kubectl with this process's own output; its exit status.
    func show(_ arguments: [String]) throws -> Int32 {
        try ProgramCall.show(words(arguments))
    }

    /// What kubectl said, as an error of ours.
    func refusal(_ result: Output, what: String) -> CASError {
        let said = result.errors.split(whereSeparator: \.isNewline).joined(separator: "; ")
        let code: CASError.Code =
            if Self.isForbidden(result) { .permissionDenied } else if Self.isAbsent(result) {
                .notFound
            } else if Self.isUnreachable(result) {
                .unavailable
            } else { .failedPrecondition }
        let hint: String? =
            switch code {
            case .permissionDenied: "kubectl auth can-i --list shows what you may do"
            case .unavailable: "kubectl cluster-info shows which cluster is asked"
            default: nil
            }
        return CASError(
            code,
            "\(what): kubectl says: \(said.isEmpty ? "exit status \(result.status)" : said)",
            hint: hint)
    }

    /// Whether the cluster refused for want of rights.
    static func isForbidden(_ result: Output) -> Bool {
        result.status != 0 && result.errors.contains("(Forbidden)")
    }

    /// Whether there is no such object.
    static func isAbsent(_ result: Output) -> Bool {
        result.status != 0 && result.errors.contains("(NotFound)")
    }

    /// Whether no cluster answered.
    private static func isUnreachable(_ result: Output) -> Bool {
        ["Unable to connect", "was refused", "no configuration has been provided", "i/o timeout"]
            .contains { result.errors.contains($0) }
    }

    private func words(_ arguments: [String]) -> [String] {
        [path] + arguments + (namespace.map { ["--namespace", $0] } ?? [])
    }
}
