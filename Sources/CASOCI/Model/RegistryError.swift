/// What a registry answers when it refuses: a code of the distribution specification, and why.
package struct RegistryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The codes of the specification, and what Docker's registry added for paging and the unexpected.
    package enum Code: String, Sendable, CaseIterable {
        case blobUnknown = "BLOB_UNKNOWN"
        case blobUploadInvalid = "BLOB_UPLOAD_INVALID"
        case blobUploadUnknown = "BLOB_UPLOAD_UNKNOWN"
        case digestInvalid = "DIGEST_INVALID"
        case manifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
        case manifestInvalid = "MANIFEST_INVALID"
        case manifestUnknown = "MANIFEST_UNKNOWN"
        case nameInvalid = "NAME_INVALID"
        case nameUnknown = "NAME_UNKNOWN"
        case sizeInvalid = "SIZE_INVALID"
        case unauthorized = "UNAUTHORIZED"
        case denied = "DENIED"
        case unsupported = "UNSUPPORTED"
        case tooManyRequests = "TOOMANYREQUESTS"
        case rangeInvalid = "RANGE_INVALID"
        case tagInvalid = "TAG_INVALID"
        case paginationNumberInvalid = "PAGINATION_NUMBER_INVALID"
        case unknown = "UNKNOWN"
        case unavailable = "UNAVAILABLE"
    }

    /// The code.
    package var code: Code
    /// What happened, in one sentence without a full stop.
    package var message: String
    /// More for a program, if there is anything.
    package var detail: JSON?

    /// An error from its parts.
    package init(_ code: Code, _ message: String, detail: JSON? = nil) {
        self.code = code
        self.message = message
        self.detail = detail
    }

    /// The code and the message.
    package var description: String { "\(code.rawValue): \(message)" }

    /// The body of an answer: `{"errors":[{"code":…,"message":…,"detail":…}]}`.
    package static func body(_ errors: [RegistryError]) -> [UInt8] {
        let items = errors.map { error in
            var members = [
                JSON.Member("code", .text(error.code.rawValue)),
                JSON.Member("message", .text(error.message)),
            ]
            if let detail = error.detail { members.append(JSON.Member("detail", detail)) }
            return JSON.object(members)
        }
        return JSON.object([JSON.Member("errors", .list(items))]).encode()
    }

    /// The errors of such a body, as far as they can be read; codes that are not known become `unknown`.
    package static func parse(_ body: [UInt8]) -> [RegistryError] {
        guard let document = try? JSON(decoding: body), let items = document["errors"]?.elements
        else { return [] }
        return items.map { item in
            let code = item["code"]?.text ?? ""
            return RegistryError(
                Code(rawValue: code) ?? .unknown, item["message"]?.text ?? code,
                detail: item["detail"])
        }
    }
}
