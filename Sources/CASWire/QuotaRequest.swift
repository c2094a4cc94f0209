package import CASCore

/// The question whether a push may become what a ref names, before it sends anything.
package struct QuotaRequest: WireMessage {
    /// The ref that is to be moved.
    package var ref: RefName
    /// Bytes of all files that it will have.
    package var bytes: UInt64

    /// A question from its parts.
    package init(ref: RefName, bytes: UInt64) {
        self.ref = ref
        self.bytes = bytes
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: ref.description)
        output.append(field: 2, varint: bytes)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var ref: RefName?
        var count: UInt64 = 0
        try readFields(bytes, upTo: 2) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): ref = try reader.refName()
            case (2, .varint): count = try reader.varint()
            default: return false
            }
            return true
        }
        guard let ref else { throw WireFailure.lacks("a ref") }
        self.init(ref: ref, bytes: count)
    }
}
