import CASCore
import CASFileSystem
import Foundation
import Synchronization

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
    func run(_ arguments: [String], input: String? = nil) throws -> Output {
        let process = process(arguments)
        let output = Pipe()
        let errors = Pipe()
        let standardInput = Pipe()
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = input == nil ? FileHandle.nullDevice : standardInput
        try start(process)
        // Each pipe has a thread, since kubectl may stop in any of them while another is full.
        let said = Mutex<[UInt8]>([])
        let listener = try WorkerThread(name: "kubectl-errors") {
            let bytes = try Self.read(errors)
            said.withLock { $0 = bytes }
        }
        let writer = try WorkerThread(name: "kubectl-input") {
            guard let input else { return }
            // Who does not read to the end says why in its own words.
            do { try standardInput.fileHandleForWriting.write(contentsOf: Data(input.utf8)) } catch
            {}
            try standardInput.fileHandleForWriting.close()
        }
        let text = try Self.read(output)
        try writer.join()
        try listener.join()
        process.waitUntilExit()
        return Output(
            status: status(process), output: String(decoding: text, as: UTF8.self),
            errors: String(decoding: said.withLock { $0 }, as: UTF8.self))
    }

    /// Runs kubectl and throws in its words if it refuses.
    @discardableResult
    func check(_ arguments: [String], input: String? = nil, what: String) throws -> String {
        let result = try run(arguments, input: input)
        guard result.status == 0 else { throw refusal(result, what: what) }
        return result.output
    }

    /// Runs kubectl with this process's own output; its exit status.
    func show(_ arguments: [String]) throws -> Int32 {
        let process = process(arguments)
        process.standardInput = FileHandle.nullDevice
        try start(process)
        process.waitUntilExit()
        return status(process)
    }

    /// What kubectl said, as an error of ours.
    func refusal(_ result: Output, what: String) -> CASError {
        let lines = result.errors.split(separator: "\n").map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        let said = lines.filter { !$0.isEmpty }.joined(separator: "; ")
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

    private func process(_ arguments: [String]) -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments + (namespace.map { ["--namespace", $0] } ?? [])
        return process
    }

    private func start(_ process: Process) throws {
        do { try process.run() } catch {
            throw CASError(.failedPrecondition, "kubectl can not be run", cause: error, path: path)
        }
    }

    private func status(_ process: Process) -> Int32 {
        process.terminationReason == .exit
            ? process.terminationStatus : 128 + process.terminationStatus
    }

    private static func read(_ pipe: Pipe) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let data = try pipe.fileHandleForReading.read(upToCount: 1 << 16), !data.isEmpty {
            bytes += data
            guard bytes.count <= maximumBytes else {
                throw CASError(.resourceExhausted, "kubectl printed too much")
            }
        }
        return bytes
    }
}
