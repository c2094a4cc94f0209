import CASRepository
import CASCore
import CASPack
import CASWire

/// `dataLoss` says that something is not what it should be; in a request that is the sender's fault and
/// must not look like damage of the store.
extension Door {
    /// Decodes the message that a body is.
    static func decode<Message: WireMessage>(
        _ type: Message.Type, _ body: ReusableBuffer
    ) throws -> Message {
        try blamingRequest { try Message(decoding: body.bytes) }
    }

    /// Runs what looks at nothing but the request.
    static func blamingRequest<Output>(_ body: () throws -> Output) throws -> Output {
        do {
            return try body()
        } catch let error as CASError where error.code == .dataLoss {
            throw refused(error)
        }
    }

    /// Runs what takes records of a request in; `dataLoss` stays where all of them are well-formed.
    ///
    /// They are looked at a second time only when something failed.
    func blamingRecords<Output>(
        _ records: UnsafeRawBufferPointer, _ body: () throws -> Output
    ) throws -> Output {
        do {
            return try body()
        } catch let error as CASError where error.code == .dataLoss {
            try Door.blamingRequest {
                try RecordCoding.forEach(in: records, limits: repository.configuration.limits) {
                    _ in
                }
            }
            throw error
        }
    }

    private static func refused(_ error: CASError) -> CASError {
        CASError(
            .invalidArgument, "the request is malformed: \(error.message)", digest: error.digest)
    }
}
