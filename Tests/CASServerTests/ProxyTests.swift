import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Synchronization
import Testing

/// A port of this machine on which one connection is taken, its request kept and an answer given.
private final class OneAnswer: Sendable {
    let port: UInt16
    private let listener: Int32
    private let request = Mutex<[UInt8]>([])

    var text: String { request.withLock { String(decoding: $0, as: UTF8.self) } }

    init() throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) + listen(descriptor, 8)
                    + getsockname(descriptor, pointer, &length)
            }
        }
        try #require(status == 0)
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(listener) }

    func answer(_ text: String) {
        let connection = accept(listener, nil, nil)
        defer { close(connection) }
        var bytes: [UInt8] = []
        while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            var piece = [UInt8](repeating: 0, count: 4096)
            let count = read(connection, &piece, piece.count)
            guard count > 0 else { break }
            bytes += piece.prefix(count)
        }
        request.withLock { $0 = bytes }
        _ = Array(text.utf8).withUnsafeBytes { write(connection, $0.baseAddress, $0.count) }
    }
}

/// Proxies on the way to a server.
@Suite struct ProxyTests {
    @Test func `a proxy is told who asks, and its refusal is its own`() async throws {
        try await onThread {
            let proxy = try OneAnswer()
            let thread = try WorkerThread(name: "proxy") {
                proxy.answer("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            }
            var access = ServerAccess(address: "https://cas.example.com")
            access.proxy = ServerProxy(
                host: "127.0.0.1", port: proxy.port, user: "ann", password: "p:@ss")
            let store = try RemoteStore(access)
            let result = Result { try store.describe() }
            try store.close()
            try thread.join()
            let error = failure(result)
            #expect(error?.code == .unauthenticated)
            #expect(error?.message.contains("the proxy 127.0.0.1:\(proxy.port)") == true)
            #expect(proxy.text.hasPrefix("CONNECT cas.example.com:443 "), "\(proxy.text)")
            // base64 of ann:p:@ss
            #expect(proxy.text.contains("Basic YW5uOnA6QHNz"), "\(proxy.text)")
        }
    }

    @Test func `a proxy that is not there is named instead of the server`() async throws {
        try await onThread {
            var access = ServerAccess(address: "https://cas.example.com")
            access.proxy = ServerProxy(host: "127.0.0.1", port: 1)
            let store = try RemoteStore(access)
            let result = Result { try store.describe() }
            try store.close()
            let error = failure(result)
            #expect(
                error?.message
                    == "the proxy 127.0.0.1:1 can not be reached: connection refused")
        }
    }
}
