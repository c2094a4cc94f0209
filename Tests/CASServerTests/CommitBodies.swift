import CASCore
import CASPack
import CASWire

/// The body of a commit without further records.
func commitBody(_ request: PushRequest) -> [UInt8] {
    let buffer = ReusableBuffer(capacity: 1024)
    RecordCoding.append(kind: .pushRequest, digest: .zero, payload: request.encode(), to: buffer)
    return Array(buffer.bytes)
}
