import CASCore
import CASFileSystem
import Glibc
import Synchronization

/// A request as a server on this machine got it.
package struct LoopbackRequest: Sendable {
    /// The method.
    package var method = ""
    /// Path and query.
    package var target = ""
    /// Headers by their names in lower case.
    package var headers: [String: String] = [:]
    /// The whole body.
    package var body: [UInt8] = []

    /// The path without the query.
    package var path: String { String(target.prefix { $0 != "?" }) }

    /// A member of the query, without escapes but those of `:` and `/`.
    package func query(_ name: String) -> String? { all(name).first }

    /// All members of the query of that name.
    package func all(_ name: String) -> [String] {
        target.drop { $0 != "?" }.dropFirst().split(separator: "&").compactMap { member in
            guard member.hasPrefix(name + "=") else { return nil }
            return member.dropFirst(name.count + 1).split(
                separator: "%", omittingEmptySubsequences: false
            ).enumerated().map { index, part in
                index == 0
                    ? String(part)
                    : String(Unicode.Scalar(UInt8(part.prefix(2), radix: 16) ?? 63))
                        + part.dropFirst(2)
            }.joined()
        }
    }
}

/// An answer of such a server.
package struct LoopbackAnswer: Sendable {
    /// The status.
    package var status: Int
    /// Headers besides the length of the body, which is added unless it is here.
    package var headers: [(String, String)]
    /// The body.
    package var body: [UInt8]
    /// Cuts the connection after so many bytes of the body.
    package var cut: Int?

    /// An answer from its parts.
    package init(
        status: Int = 200, headers: [(String, String)] = [], body: [UInt8] = [], cut: Int? = nil
    ) {
        self.status = status
        self.headers = headers
        self.body = body
        self.cut = cut
    }
}

/// A web server on this machine that answers what a test wants.
package final class LoopbackServer: Sendable {
    /// Where it listens.
    package let port: UInt16
    private let listener: Int32
    private let handle: @Sendable (LoopbackRequest) -> LoopbackAnswer
    private let seen = Mutex<[LoopbackRequest]>([])
    private let isOpen = Mutex(true)
    private let thread = Mutex<WorkerThread?>(nil)
    private let workers = Mutex<[WorkerThread]>([])

    /// Starts it; `handle` is called on threads of its own.
    package init(_ handle: @escaping @Sendable (LoopbackRequest) -> LoopbackAnswer) throws {
        self.handle = handle
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) + listen(descriptor, 64)
                    + getsockname(descriptor, pointer, &length)
            }
        }
        guard status == 0 else { throw SystemFailure.error(errno, "listen") }
        port = UInt16(bigEndian: address.sin_port)
        let serving = try WorkerThread(name: "loopback") { [self] in
            while true {
                let connection = accept(descriptor, nil, nil)
                guard isOpen.withLock({ $0 }) else { return }
                guard connection >= 0 else {
                    // No connection may have to do with this one: who asked has gone, or there are too many files.
                    sched_yield()
                    continue
                }
                // One thread each: a client may open a connection that it does not use.
                do {
                    let worker = try WorkerThread(name: "answer") { self.answer(connection) }
                    workers.withLock { $0.append(worker) }
                } catch {
                    close(connection)
                }
            }
        }
        thread.withLock { $0 = serving }
    }

    /// Address and port.
    package var host: String { "127.0.0.1:\(port)" }

    /// The requests so far.
    package var requests: [LoopbackRequest] { seen.withLock { $0 } }

    /// The requests so far, as `METHOD PATH`.
    package var lines: [String] { requests.map { "\($0.method) \($0.path)" } }

    /// Ends it, so that connections are refused from then on.
    package func stop() throws {
        isOpen.withLock { $0 = false }
        shutdown(listener, Int32(SHUT_RDWR))
        try thread.withLock { $0.take() }?.join()
        for worker in workers.withLock({ $0 }) { try worker.join() }
        close(listener)
    }

    private func answer(_ connection: Int32) {
        defer { close(connection) }
        guard let request = LoopbackServer.read(connection) else { return }
        seen.withLock { $0.append(request) }
        let answer = handle(request)
        var text = "HTTP/1.1 \(answer.status) X\r\nconnection: close\r\n"
        for (name, value) in answer.headers { text += "\(name): \(value)\r\n" }
        if !answer.headers.contains(where: { $0.0.lowercased() == "content-length" }) {
            text += "content-length: \(answer.body.count)\r\n"
        }
        let body = request.method == "HEAD" ? [] : Array(answer.body.prefix(answer.cut ?? .max))
        var rest = (Array((text + "\r\n").utf8) + body)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    private static func read(_ connection: Int32) -> LoopbackRequest? {
        var bytes: [UInt8] = []
        func more() -> Bool {
            var piece = [UInt8](repeating: 0, count: 65_536)
            let count = Glibc.read(connection, &piece, piece.count)
            guard count > 0 else { return false }
            bytes += piece.prefix(count)
            return true
        }
        var end = bytes.endIndex
        while true {
            if let found = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
                end = found.upperBound
                break
            }
            guard more() else { return nil }
        }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
        let words = lines[0].split(separator: " ")
        var request = LoopbackRequest(method: String(words[0]), target: String(words[1]))
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            request.headers[line[..<colon].lowercased()] = String(value)
        }
        let length = request.headers["content-length"].flatMap { Int($0) } ?? 0
        while bytes.count - end < length { guard more() else { return nil } }
        request.body = Array(bytes[end..<(end + length)])
        return request
    }
}
