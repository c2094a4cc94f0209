/// HMAC with SHA-256 (RFC 2104): says that whoever has the key made a message.
package enum MessageAuthentication {
    private static let blockBytes = 64

    /// The code of a message.
    package static func code(_ message: [UInt8], key: [UInt8]) -> Digest {
        var padded = key.count > blockBytes ? Digest.of(key).bytes : key
        padded += [UInt8](repeating: 0, count: blockBytes - padded.count)
        let inner = Digest.of(padded.map { $0 ^ 0x36 } + message)
        return Digest.of(padded.map { $0 ^ 0x5c } + inner.bytes)
    }
}
