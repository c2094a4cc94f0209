import CASCore
import CASFileSystem
import Glibc

/// A TCP connection that speaks as much HTTP/1.1 as a test wants it to.
package final class RawConnection {
    /// What came back; a header that is there several times is one with commas.
    package struct Answer {
        /// The status.
        package var status = 0
        /// By lower-case name.
        package var headers: [String: String] = [:]
        /// The body.
        package var body: [UInt8] = []
        /// The body as text.
        package var text: String { String(decoding: body, as: UTF8.self) }
    }
    private static let timeoutSeconds = 30
    private let descriptor: Int32
    private var waiting: [UInt8] = []
    /// Where it is connected to.
    package let port: UInt16

    /// Connects to a port of this machine.
    package init(port: UInt16) throws {
        self.port = port
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        guard status == 0 else { throw SystemFailure.error(errno, "connect") }
        var limit = timeval(tv_sec: RawConnection.timeoutSeconds, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Sends a text.
    package func send(_ text: String) throws { try send(Array(text.utf8)) }

    /// Sends bytes.
    package func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw SystemFailure.error(errno, "send") }
            sent += count
        }
    }

    /// Says that nothing more will be sent.
    package func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Whether something came that was not read yet, or the connection ended.
    package var isReadable: Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) > 0
    }

    /// More bytes; false at the end.
    package func more() throws -> Bool {
        var piece = [UInt8](repeating: 0, count: 65_536)
        let count = piece.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
        guard count >= 0 else { throw SystemFailure.error(errno, "recv") }
        waiting.append(contentsOf: piece[..<count])
        return count > 0
    }

    private func line() throws -> String {
        while true {
            if let end = waiting.firstIndex(of: 10) {
                let text = String(decoding: waiting[..<end], as: UTF8.self)
                waiting.removeFirst(end + 1)
                return text.hasSuffix("\r") ? String(text.dropLast()) : text
            }
            guard try more() else {
                throw CASError(.unavailable, "the server ended the connection")
            }
        }
    }

    private func take(_ count: Int) throws -> [UInt8] {
        while waiting.count < count {
            guard try more() else {
                throw CASError(.unavailable, "the server ended the connection")
            }
        }
        let bytes = Array(waiting[..<count])
        waiting.removeFirst(count)
        return bytes
    }

    /// Reads the head of an answer.
    package func head() throws -> Answer {
        var answer = Answer()
        let words = try line().split(separator: " ")
        answer.status = words.count > 1 ? Int(words[1]) ?? 0 : 0
        while case let text = try line(), !text.isEmpty {
            let parts = text.split(separator: ":", maxSplits: 1)
            let value = parts.count > 1 ? String(parts[1].drop { $0 == " " }) : ""
            let name = parts[0].lowercased()
            answer.headers[name] = answer.headers[name].map { "\($0), \(value)" } ?? value
        }
        return answer
    }

    /// Reads a whole answer.
    package func answer() throws -> Answer {
        var answer = try head()
        if answer.headers["transfer-encoding"] == "chunked" {
            while let count = Int(try line(), radix: 16), count > 0 {
                answer.body += try take(count)
                _ = try line()
            }
            _ = try line()
        } else if let count = answer.headers["content-length"].flatMap({ Int($0) }) {
            answer.body = try take(count)
        }
        return answer
    }

    /// Sends a request and reads its answer.
    package func request(
        _ method: String, _ path: String, headers: [String: String] = [:], body: [UInt8]? = nil
    ) throws -> Answer {
        var headers = headers
        if headers["host"] == nil { headers["host"] = "127.0.0.1:\(port)" }
        if let body, headers["content-length"] == nil {
            headers["content-length"] = "\(body.count)"
        }
        var text = "\(method) \(path) HTTP/1.1\r\n"
        for (name, value) in headers.sorted(by: { $0.key < $1.key }) {
            text += "\(name): \(value)\r\n"
        }
        try send(Array((text + "\r\n").utf8) + (body ?? []))
        return method == "HEAD" ? try head() : try answer()
    }
}
