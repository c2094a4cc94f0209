package import CASCore

/// An error as one side tells it to the other.
package struct WireError: WireMessage {
    /// The kind of failure.
    package var code: CASError.Code
    /// What happened.
    package var message: String
    /// What to do about it; empty for nothing.
    package var hint: String
    /// The bytes concerned.
    package var digest: Digest?
    /// The file concerned; empty for none.
    package var path: String

    /// The error without its causes, which are nobody's business on the other side.
    package init(_ error: CASError) {
        code = error.code
        message = error.message
        hint = error.hint ?? ""
        digest = error.digest
        path = error.path ?? ""
    }

    /// The error on this side.
    package var error: CASError {
        CASError(
            code, message, hint: hint.isEmpty ? nil : hint, digest: digest,
            path: path.isEmpty ? nil : path)
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, varint: UInt64(code.rawValue))
        output.append(field: 2, text: message)
        output.append(field: 3, text: hint)
        output.append(field: 4, digest: digest)
        output.append(field: 5, text: path)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(CASError(.unknown, ""))
        try readFields(bytes, upTo: 5) { number, type, reader in
            switch (number, type) {
            case (1, .varint): code = try reader.value(CASError.Code.self) ?? .unknown
            case (2, .lengthDelimited): message = try reader.string()
            case (3, .lengthDelimited): hint = try reader.string()
            case (4, .lengthDelimited): digest = try reader.digest()
            case (5, .lengthDelimited): path = try reader.string()
            default: return false
            }
            return true
        }
    }
}
