import CASCore
import CASPack
import CASWire

/// The body of a commit: a `pushRequest` record and then the last records of the push.
enum CommitBody {
    static func split(
        _ body: ReusableBuffer, _ limits: Limits
    ) throws -> (request: PushRequest, records: UnsafeRawBufferPointer) {
        let first = try RecordCoding.decode(body.bytes, limits: limits)
        guard first.header.kind == .pushRequest, first.header.codec == .raw else {
            throw CASError(.invalidArgument, "a commit does not begin with a push request")
        }
        return (
            try PushRequest(decoding: first.payload, limits: limits),
            UnsafeRawBufferPointer(rebasing: body.bytes[first.record.count...])
        )
    }
}
