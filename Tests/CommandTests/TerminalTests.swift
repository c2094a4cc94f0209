import CASFileSystem
import Foundation
import Glibc
import Testing

/// A terminal that a test types on and reads from.
private final class FakeTerminal {
    private let master: Int32
    let name: String
    private(set) var text = ""

    init(columns: UInt16 = 80) throws {
        master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var locked: Int32 = 0
        var number: UInt32 = 0
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        // TIOCSPTLCK and TIOCGPTN: what unlockpt(3) and ptsname(3) do.
        let status =
            ioctl(master, 0x4004_5431, &locked) | ioctl(master, 0x8004_5430, &number)
            | ioctl(master, UInt(TIOCSWINSZ), &size)
        name = "/dev/pts/\(number)"
        try #require(master >= 0 && status == 0)
    }

    deinit { close(master) }

    /// Whether what is typed is shown.
    var hasEcho: Bool {
        var settings = termios()
        return tcgetattr(master, &settings) == 0 && settings.c_lflag & tcflag_t(ECHO) != 0
    }

    /// Reads until a text appears, or until everybody else has closed the terminal.
    func read(until wanted: String? = nil) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while wanted.map({ !text.contains($0) }) ?? true {
            let count = Glibc.read(master, &buffer, buffer.count)
            guard count > 0 else { return }
            text += String(decoding: buffer.prefix(count), as: UTF8.self)
        }
    }

    func type(_ bytes: [UInt8]) { _ = Glibc.write(master, bytes, bytes.count) }

    /// Starts a command as a shell would: this is its controlling terminal.
    func start(_ arguments: [String], _ fixture: CommandLineFixture) throws -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments =
            ["setsid", "--ctty", "--wait", try CommandLineFixture.executable()] + arguments
        process.environment = [
            "HOME": fixture.path("home"), "USER": "ann", "PATH": "/usr/bin:/bin", "LC_ALL": "C",
        ]
        process.currentDirectoryURL = URL(filePath: fixture.root)
        let slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)
        try #require(slave >= 0)
        let handle = FileHandle(fileDescriptor: slave, closeOnDealloc: true)
        process.standardInput = handle
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        // Held by the command alone, so that reading ends with it.
        try handle.close()
        return process
    }
}

/// What commands do with a terminal.
@Suite(.timeLimit(.minutes(10))) struct TerminalTests {
    @Test func `Ctrl-C at the prompt for a token ends the command and brings the echo back`()
        throws
    {
        let fixture = try CommandLineFixture()
        let terminal = try FakeTerminal()
        let process = try terminal.start(["login", "http://127.0.0.1:1"], fixture)
        terminal.read(until: "token for")
        // The prompt comes first, and then the terminal is told.
        while terminal.hasEcho, process.isRunning { usleep(1000) }
        terminal.type([3])
        process.waitUntilExit()
        #expect(process.terminationStatus == 130, "\(terminal.text)")
        #expect(terminal.hasEcho)
    }

    @Test func `progress has numbers in one line and a title in another`() throws {
        let fixture = try CommandLineFixture()
        let name = "a-name-that-leaves-no-room-in-a-line-of-a-terminal"
        try fixture.write("\(name)/small", "x")
        let chunk = String(repeating: "0123456789abcdef", count: 1 << 16)
        for number in 0..<60 { try fixture.write("\(name)/\(number)", "\(number)\(chunk)") }
        let terminal = try FakeTerminal()
        let push = try terminal.start(["push", name, "--to", "team/x", "--store", "s"], fixture)
        terminal.read()
        push.waitUntilExit()
        let lines = terminal.text.split { $0.isNewline }
        #expect(lines.first?.hasPrefix("pushing ") == true, "\(terminal.text)")
        let drawn = terminal.text.split(separator: "\r").filter { $0.contains(" deduplicated") }
        #expect(!drawn.isEmpty, "\(terminal.text)")
        for line in drawn {
            #expect(line.split(separator: "\u{1b}").first.map { $0.count < 80 } == true, "\(line)")
            let files = line.split(separator: " ").first.flatMap { Int($0) } ?? .max
            #expect(files <= 61, "\(line)")
        }
    }
}
