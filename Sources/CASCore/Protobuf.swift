/// The protocol buffers wire format, as much of it as canonical messages need
/// (https://protobuf.dev/programming-guides/encoding/): varints and length-delimited fields.
package enum Protobuf {
    /// How a field's value is written.
    package enum WireType: UInt8, Sendable {
        case varint = 0
        case fixed64 = 1
        case lengthDelimited = 2
        case fixed32 = 5
    }

    /// Reads the fields of one message in order.
    package struct Reader {
        private var reader: ByteReader

        /// A reader at the first field of `message`.
        package init(_ message: UnsafeRawBufferPointer) {
            reader = ByteReader(message)
        }

        /// Number and wire type of the next field; nil at the end.
        package mutating func next() throws -> (number: UInt32, type: WireType)? {
            guard !reader.isAtEnd else { return nil }
            let key = try reader.varint()
            guard key >> 3 > 0, key >> 3 < 1 << 29, let type = WireType(rawValue: UInt8(key & 7))
            else { throw CASError(.dataLoss, "a message has a malformed field key") }
            return (UInt32(key >> 3), type)
        }

        /// The value of a varint field.
        package mutating func varint() throws -> UInt64 { try reader.varint() }

        /// The bytes of a length-delimited field.
        package mutating func bytes() throws -> UnsafeRawBufferPointer {
            let count = try reader.varint()
            guard count <= UInt64(reader.remaining) else {
                throw CASError(.dataLoss, "a field is longer than its message")
            }
            return try reader.take(Int(count))
        }

        /// The bytes of a length-delimited field as an array.
        package mutating func array() throws -> [UInt8] {
            Array(try bytes())
        }

        /// The text of a length-delimited field; refuses invalid UTF-8.
        package mutating func string() throws -> String {
            guard let text = String(validating: try array(), as: UTF8.self) else {
                throw CASError(.dataLoss, "a text field is not valid UTF-8")
            }
            return text
        }

        /// Skips the value of a field whose number is not known.
        package mutating func skip(_ type: WireType) throws {
            switch type {
            case .varint: _ = try reader.varint()
            case .fixed64: _ = try reader.take(8)
            case .fixed32: _ = try reader.take(4)
            case .lengthDelimited: _ = try bytes()
            }
        }
    }
}

/// Fields of a protocol buffers message at the end of a byte array. Default values are left out, as
/// proto3 prescribes, except where a method says otherwise.
extension [UInt8] {
    /// Adds an integer field unless it is zero.
    package mutating func append(field number: UInt32, varint value: UInt64) {
        guard value != 0 else { return }
        append(varint: UInt64(number) << 3)
        append(varint: value)
    }

    /// Adds a boolean field unless it is false.
    package mutating func append(field number: UInt32, flag: Bool) {
        append(field: number, varint: flag ? 1 : 0)
    }

    /// Adds a bytes, text or message field unless it is empty.
    package mutating func append(field number: UInt32, bytes value: some Collection<UInt8>) {
        guard !value.isEmpty else { return }
        append(element: number, bytes: value)
    }

    /// Adds one element of a repeated field, or a message that is present though empty.
    package mutating func append(element number: UInt32, bytes value: some Collection<UInt8>) {
        append(varint: UInt64(number) << 3 | 2)
        append(varint: UInt64(value.count))
        append(contentsOf: value)
    }

    /// Adds a text field unless it is empty.
    package mutating func append(field number: UInt32, text: String) {
        append(field: number, bytes: text.utf8)
    }
}
