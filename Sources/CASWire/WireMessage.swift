package import CASCore

/// A message of the native protocol: protocol buffers wire format, described in Protocol.md.
///
/// Unknown fields are skipped, so that an older program understands a newer one; a malformed message
/// throws `dataLoss`.
package protocol WireMessage: Hashable, Sendable {
    /// Reads a message.
    init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws
    /// The message's bytes.
    func encode() -> [UInt8]
}

extension WireMessage {
    /// Reads a message.
    package init(decoding bytes: [UInt8], limits: Limits = .standard) throws {
        self = try bytes.withUnsafeBytes { try Self(decoding: $0, limits: limits) }
    }

    /// Reads a message under the usual limits.
    package init(decoding bytes: UnsafeRawBufferPointer) throws {
        try self.init(decoding: bytes, limits: .standard)
    }
}

/// The versions and media types of the native protocol.
package enum WireProtocol {
    /// The version that this program speaks; the first component of every path.
    package static let version: UInt64 = 1
    /// A stream of records.
    package static let recordsMediaType = "application/vnd.cas.records.v1"
    /// One message.
    package static let messageMediaType = "application/vnd.cas.message.v1"
}

// Values that several messages hold.

extension Protobuf.Reader {
    mutating func digest() throws -> Digest {
        let run = try bytes()
        guard run.count == Digest.byteCount else { throw WireFailure.malformed("a digest") }
        return Digest(run)
    }

    /// A value of an enumeration; nil for one that this program does not know.
    mutating func value<Value: RawRepresentable<UInt8>>(_ type: Value.Type) throws -> Value? {
        UInt8(exactly: try varint()).flatMap { Value(rawValue: $0) }
    }

    mutating func identifier() throws -> Identifier {
        guard let identifier = Identifier(bytes: try array()) else {
            throw WireFailure.malformed("an identifier")
        }
        return identifier
    }

    mutating func refName() throws -> RefName {
        do {
            return try RefName(try string())
        } catch let error as CASError where error.code == .invalidArgument {
            throw CASError(.dataLoss, "a message holds a name that is none", cause: error)
        }
    }

    mutating func domain() throws -> Domain {
        guard let number = UInt32(exactly: try varint()) else {
            throw WireFailure.malformed("a domain")
        }
        return Domain(rawValue: number)
    }

    mutating func timestamp() throws -> Timestamp {
        var time = Timestamp(seconds: 0)
        var reader = Protobuf.Reader(try bytes())
        while let field = try reader.next() {
            switch (field.number, field.type) {
            case (1, .varint): time.seconds = Int64(bitPattern: try reader.varint())
            case (2, .varint):
                let nanoseconds = try reader.varint()
                guard nanoseconds < 1_000_000_000 else { throw WireFailure.malformed("a time") }
                time.nanoseconds = UInt32(nanoseconds)
            case (1...2, _): throw WireFailure.malformed("a time")
            default: try reader.skip(field.type)
            }
        }
        return time
    }
}

extension [UInt8] {
    mutating func append(field number: UInt32, digest: Digest?) {
        guard let digest else { return }
        append(element: number, bytes: digest.bytes)
    }

    mutating func append(field number: UInt32, identifier: Identifier?) {
        guard let identifier else { return }
        append(element: number, bytes: identifier.bytes)
    }

    /// As google.protobuf.Timestamp; present even for the start of 1970.
    mutating func append(field number: UInt32, time: Timestamp?) {
        guard let time else { return }
        var body: [UInt8] = []
        body.append(field: 1, varint: UInt64(bitPattern: time.seconds))
        body.append(field: 2, varint: UInt64(time.nanoseconds))
        append(element: number, bytes: body)
    }

    mutating func append(field number: UInt32, message: (some WireMessage)?) {
        guard let message else { return }
        append(element: number, bytes: message.encode())
    }
}

enum WireFailure {
    static func malformed(_ what: String) -> CASError {
        CASError(.dataLoss, "\(what) in a message is malformed")
    }

    static func lacks(_ what: String) -> CASError {
        CASError(.dataLoss, "a message lacks \(what)")
    }

    static func tooMany(_ what: String) -> CASError {
        CASError(.resourceExhausted, "a message holds too many \(what)")
    }
}

/// Reads a message field by field; `body` returns false for a field that it does not know.
///
/// All fields up to `last` are known: one of them with a value of another type is malformed and not
/// skipped, as a condition or an end date that went unnoticed would be worse than an error.
func readFields(
    _ bytes: UnsafeRawBufferPointer, upTo last: UInt32,
    _ body: (UInt32, Protobuf.WireType, inout Protobuf.Reader) throws -> Bool
) throws {
    var reader = Protobuf.Reader(bytes)
    while let field = try reader.next() {
        if try body(field.number, field.type, &reader) { continue }
        guard field.number > last else { throw WireFailure.malformed("field \(field.number)") }
        try reader.skip(field.type)
    }
}
