import CASCore
import CASFileSystem
import Foundation

/// `cas serve` in a process of its own, whose memory nobody else uses.
final class ServerProcess {
    private let process = Process()
    private let output = Pipe()
    let port: UInt16

    /// Serves a store that nobody else has open; begins with so few files that it may open.
    init(storeDirectory: String, files: Int = 1024) throws {
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = [
            "-c", "ulimit -Sn \(files) && exec \"$0\" \"$@\"", try ServerProcess.executable(),
            "serve", "--store", storeDirectory, "--listen", "127.0.0.1:0",
        ]
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        var text = ""
        var found: UInt16?
        while found == nil {
            let data = output.fileHandleForReading.availableData
            guard !data.isEmpty else { break }
            text += String(decoding: data, as: UTF8.self)
            found = text.firstMatch(of: /127\.0\.0\.1:([0-9]+)\s/).flatMap { UInt16($0.1) }
        }
        guard let found else {
            throw CASError(.internalError, "cas serve does not say where it listens: \(text)")
        }
        port = found
    }

    /// What a server says that does not begin to serve.
    static func failing(storeDirectory: String) throws -> String {
        let process = Process()
        let errors = Pipe()
        process.executableURL = URL(filePath: try ServerProcess.executable())
        process.arguments = ["serve", "--store", storeDirectory, "--listen", "127.0.0.1:0"]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = errors
        try process.run()
        let text = String(
            decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return process.terminationStatus == 1 ? text : "it ended with \(process.terminationStatus)"
    }

    /// Ends it without any warning.
    func kill() {
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    deinit {
        process.terminate()
        process.waitUntilExit()
    }

    /// Bytes of it in memory, once that does not change any more.
    func settledBytes() throws -> Int {
        var last = 0
        var unchanged = 0
        while unchanged < 5 {
            Sleep.milliseconds(100)
            let bytes = try residentBytes(of: "\(process.processIdentifier)")
            unchanged = abs(bytes - last) < 1 << 20 ? unchanged + 1 : 0
            last = bytes
        }
        return last
    }

    /// The executable under test: CAS_EXECUTABLE, else the one beside the test bundle.
    private static func executable() throws -> String {
        if let path = ProcessInfo.processInfo.environment["CAS_EXECUTABLE"], !path.isEmpty {
            return path
        }
        let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return FilePaths.join(FilePaths.parent(bundle), "cas")
    }
}
