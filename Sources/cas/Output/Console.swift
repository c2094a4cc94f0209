import CASCore
import CASFileSystem
import Glibc

/// The process's output: data on standard output, all else on standard error.
enum Console {
    /// Writes one line of data.
    static func data(_ line: String) {
        write(Array((line + "\n").utf8), to: STDOUT_FILENO)
    }

    /// Writes many lines of data in large pieces.
    static func data(lines: [String]) {
        var bytes: [UInt8] = []
        for line in lines {
            bytes.append(contentsOf: line.utf8)
            bytes.append(UInt8(ascii: "\n"))
            if bytes.count >= 1 << 16 {
                write(bytes, to: STDOUT_FILENO)
                bytes.removeAll(keepingCapacity: true)
            }
        }
        write(bytes, to: STDOUT_FILENO)
    }

    /// Writes bytes of data as they are.
    static func data(bytes: [UInt8]) {
        write(bytes, to: STDOUT_FILENO)
    }

    /// Writes one JSON document.
    static func data(_ value: JSONText) {
        data(value.description)
    }

    /// Writes one line for the person.
    static func note(_ line: String) {
        Terminal.write(Array((line + "\n").utf8), to: STDERR_FILENO)
    }

    /// Writes an error and what to do about it.
    static func failure(_ error: any Error) {
        let known = error as? CASError
        // Some errors name several files, one on each line.
        let lines = (known?.description ?? "\(error)").split(separator: "\n")
        var text = "error: " + lines.map { printable(String($0)) }.joined(separator: "\n") + "\n"
        if let hint = known?.hint { text += "hint: " + printable(hint) + "\n" }
        Terminal.write(Array(text.utf8), to: STDERR_FILENO)
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        guard !Terminal.write(bytes, to: descriptor) else { return }
        // Nobody reads any more (`cas log | head`): there is nothing left to do, and nobody to tell.
        if errno == EPIPE { exit(1) }
        note("error: cannot write the output: \(String(cString: strerror(errno)))")
        exit(1)
    }
}

/// Text that others wrote (messages, authors, names, answers of a server) made safe for a terminal:
/// control characters become escapes, so that nobody moves the cursor or hides a line.
func printable(_ text: String) -> String {
    func isSafe(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }
    guard !text.unicodeScalars.allSatisfy(isSafe) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        if isSafe(scalar) {
            result.unicodeScalars.append(scalar)
        } else {
            result += "\\u{" + String(scalar.value, radix: 16) + "}"
        }
    }
    return result
}
