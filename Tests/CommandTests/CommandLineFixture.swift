import CASCore
import CASFileSystem
import Foundation
import Testing

/// One user on one machine: a directory of its own with a home in it, and the built executable.
final class CommandLineFixture {
    /// What a command did.
    struct Result {
        let status: Int32
        let output: String
        let errors: String
    }

    /// The directory in which everything happens; commands start in it.
    let root: String
    private(set) var transcript: [String] = []
    private var servers: [Process] = []

    init() throws {
        let parent = try Host.resolve(NSTemporaryDirectory())
        root = try Host.makeTemporaryDirectory(in: parent, prefix: "cas-command-")
        try DiskFileSystem().createDirectory("\(root)/home")
    }

    deinit {
        for server in servers where server.isRunning {
            server.terminate()
            server.waitUntilExit()
        }
        // A leftover of a test is no failure of it.
        do { try Host.removeTree(root) } catch {
            print("\(root) stays behind: \(error)")
        }
    }

    /// The executable under test: CAS_EXECUTABLE, else the one beside the test bundle.
    static func executable() throws -> String {
        if let path = ProcessInfo.processInfo.environment["CAS_EXECUTABLE"], !path.isEmpty {
            return path
        }
        let bundle = try Host.resolve("/proc/self/exe")
        let path = FilePaths.join(FilePaths.parent(bundle), "cas")
        _ = try #require(
            try DiskFileSystem().status(path), "\(path) does not exist: swift build --product cas")
        return path
    }

    /// Runs a command to its end.
    func run(
        _ arguments: [String], environment: [String: String] = [:], input: String = "",
        directory: String? = nil
    ) throws -> Result {
        let process = try process(arguments, environment)
        if let directory { process.currentDirectoryURL = URL(fileURLWithPath: path(directory)) }
        // Files instead of pipes: however much a command prints, nobody waits for anybody.
        let names = ["input", "output", "errors"].map { "\(root)/home/.\($0)" }
        try write("home/.input", input)
        try write("home/.output", "")
        try write("home/.errors", "")
        process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: names[0]))
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: names[1]))
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: names[2]))
        try process.run()
        process.waitUntilExit()
        return Result(
            status: process.terminationReason == .exit
                ? process.terminationStatus : -process.terminationStatus,
            output: try read("home/.output"), errors: try read("home/.errors"))
    }

    /// Runs a command and adds it to the transcript; words are split at blanks.
    @discardableResult
    func cas(
        _ line: String, environment: [String: String] = [:], input: String = "",
        directory: String? = nil
    ) throws -> Result {
        try cas(
            line.split(separator: " ").map(String.init), environment: environment, input: input,
            directory: directory)
    }

    /// Runs a command and adds it to the transcript.
    @discardableResult
    func cas(
        _ arguments: [String], environment: [String: String] = [:], input: String = "",
        directory: String? = nil
    ) throws -> Result {
        let result = try run(
            arguments, environment: environment, input: input, directory: directory)
        let settings = environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value) " }
        transcript.append("$ \(settings.joined())cas \(arguments.joined(separator: " "))")
        if !result.output.isEmpty { transcript.append("-- output\n\(result.output)") }
        if !result.errors.isEmpty { transcript.append("-- errors\n\(result.errors)") }
        transcript.append("-- exit status \(result.status)\n")
        return result
    }

    /// Starts `cas serve` with these arguments and returns its address once it is ready.
    func serve(_ arguments: String, environment: [String: String] = [:]) throws -> String {
        var words = ["serve"] + arguments.split(separator: " ").map(String.init)
        if !words.contains("--listen") { words += ["--listen", "127.0.0.1:0"] }
        let process = try process(words, environment)
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardInput = FileHandle.nullDevice
        try write("home/.server-errors", "")
        process.standardError = try FileHandle(
            forWritingTo: URL(fileURLWithPath: "\(root)/home/.server-errors"))
        try process.run()
        servers.append(process)
        var line: [UInt8] = []
        while line.last != UInt8(ascii: "\n") {
            let data = pipe.fileHandleForReading.availableData
            if data.isEmpty { break }
            line += data
        }
        let log = try read("home/.server-errors")
        try #require(line.last == UInt8(ascii: "\n"), "the server did not start: \(log)")
        return String(decoding: line.dropLast(), as: UTF8.self)
    }

    /// Ends the server that was started last as Ctrl-C does; its exit status.
    func stopServer(signal: Int32 = SIGINT) throws -> Int32 {
        let last = servers.popLast()
        let server = try #require(last)
        kill(server.processIdentifier, signal)
        server.waitUntilExit()
        return server.terminationReason == .exit
            ? server.terminationStatus : -server.terminationStatus
    }

    private func process(_ arguments: [String], _ environment: [String: String]) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try Self.executable())
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: root)
        // Nothing of the environment of whoever runs the tests: neither a server nor CI.
        var all = ["HOME": "\(root)/home", "USER": "ann", "PATH": "/usr/bin:/bin", "LC_ALL": "C"]
        all.merge(environment) { $1 }
        process.environment = all
        return process
    }

    // MARK: - Files

    /// A path below the root in full.
    func path(_ name: String) -> String { FilePaths.join(root, name) }

    /// Writes a file below the root and its directories; its time is long ago, so that no cache doubts it.
    func write(_ name: String, _ text: String, permissions: Int = 0o644) throws {
        let full = path(name)
        try DiskFileSystem().createDirectory(FilePaths.parent(full))
        try Data(text.utf8).write(to: URL(fileURLWithPath: full))
        try FileManager.default.setAttributes(
            [
                .posixPermissions: permissions,
                .modificationDate: Date(timeIntervalSince1970: 1_700_000_000),
            ],
            ofItemAtPath: full)
    }

    /// The text of a file below the root.
    func read(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: path(name))), as: UTF8.self)
    }

    /// A small program with some things that deserve a word.
    func writeProject(_ name: String = "work") throws {
        try write("\(name)/train.py", "import model\nprint(model.answer)\n")
        try write("\(name)/model.py", "answer = 42\n")
        try write(
            "\(name)/run.sh", "#!/bin/sh\necho \"arguments: $@\"\ncat model.py\n",
            permissions: 0o755)
        try write("\(name)/data/labels.csv", "a,1\nb,2\n")
        try write("\(name)/.gitignore", "build/\n*.log\n")
        try write("\(name)/build/out.o", "object")
        try write("\(name)/first.log", "log")
        try write("\(name)/second.log", "log")
    }
}
