import CASCore
import CASFileSystem
import Glibc
import Synchronization

/// A web server on this machine that answers with what a test gives it, and counts.
final class LoopbackIssuer: Sendable {
    private struct State {
        var documents: [String: (status: Int, body: [UInt8])] = [:]
        var requests: [String] = []
        var isOpen = true
    }
    let port: UInt16
    private let listener: Int32
    private let state = Mutex(State())
    private let thread = Mutex<WorkerThread?>(nil)

    init() throws {
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
        // Held by its own thread until it is stopped.
        let serving = try WorkerThread(name: "issuer") { [self] in
            while true {
                let connection = accept(descriptor, nil, nil)
                guard connection >= 0, state.withLock({ $0.isOpen }) else { return }
                answer(connection)
            }
        }
        thread.withLock { $0 = serving }
    }

    var address: String { "http://127.0.0.1:\(port)" }

    /// Heads of the requests so far.
    var requests: [String] { state.withLock { $0.requests } }

    func set(_ path: String, _ body: [UInt8], status: Int = 200) {
        state.withLock { $0.documents[path] = (status, body) }
    }

    /// Ends it, so that connections are refused from then on.
    func stop() throws {
        state.withLock { $0.isOpen = false }
        shutdown(listener, Int32(SHUT_RDWR))
        try thread.withLock { $0.take() }?.join()
        close(listener)
    }

    private func answer(_ connection: Int32) {
        defer { close(connection) }
        var bytes: [UInt8] = []
        while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            var piece = [UInt8](repeating: 0, count: 4096)
            let count = read(connection, &piece, piece.count)
            guard count > 0 else { return }
            bytes += piece.prefix(count)
        }
        let head = String(decoding: bytes, as: UTF8.self)
        let words = head.split(separator: " ")
        let path = words.count > 1 ? String(words[1]) : ""
        let (status, body) = state.withLock { state in
            state.requests.append(head)
            return state.documents[path] ?? (404, [])
        }
        let text =
            "HTTP/1.1 \(status) X\r\ncontent-length: \(body.count)\r\nconnection: close\r\n\r\n"
        _ = (Array(text.utf8) + body).withUnsafeBytes {
            write(connection, $0.baseAddress, $0.count)
        }
    }
}
