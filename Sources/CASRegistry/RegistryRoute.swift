import CASCore
import CASOCI
import HTTPTypes

/// What a manifest is asked for by.
enum ManifestReference: Hashable, Sendable {
    case tag(String)
    case digest(OCIDigest)
}

/// What a request of the registry is about (Registry.md, "Endpoints").
enum RegistryRoute: Hashable, Sendable {
    case base
    case catalog
    case token
    case tags(String)
    case manifest(String, ManifestReference)
    case putManifest(String, ManifestReference)
    case deleteManifest(String, ManifestReference)
    case blob(String, OCIDigest)
    case deleteBlob(String, OCIDigest)
    case referrers(String, OCIDigest)
    case beginUpload(String)
    case uploadStatus(String, Identifier)
    case uploadPart(String, Identifier)
    case finishUpload(String, Identifier)
    case cancelUpload(String, Identifier)

    /// Finds the route; throws a `Refusal` for paths that are none, and methods that they do not have.
    init(_ method: HTTPRequest.Method, path: String) throws {
        guard let decoded = PercentCoding.decode(path) else {
            throw Refusal(.nameInvalid, "the path is not percent-encoded UTF-8")
        }
        var parts = decoded.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 2, parts[0].isEmpty, parts[1] == "v2" else {
            throw Refusal.unknownPath(path)
        }
        parts.removeFirst(2)
        // A slash at the end means nothing.
        if parts.last?.isEmpty == true { parts.removeLast() }
        switch parts {
        case []: self = try RegistryRoute.base.allowing([.get, .head], method)
        case ["_catalog"]: self = try RegistryRoute.catalog.allowing([.get, .head], method)
        case ["token"]: self = try RegistryRoute.token.allowing([.get, .post], method)
        default: self = try RegistryRoute.within(parts, method, path)
        }
    }

    private func allowing(
        _ methods: [HTTPRequest.Method], _ method: HTTPRequest.Method
    ) throws -> RegistryRoute {
        guard methods.contains(method) else { throw Refusal.method(method, allowed: methods) }
        return self
    }

    /// What is about one repository: the name is what stands before the last words that mean something.
    private static func within(
        _ parts: [String], _ method: HTTPRequest.Method, _ path: String
    ) throws -> RegistryRoute {
        let last = parts[parts.count - 1]
        let kind = parts.count > 1 ? parts[parts.count - 2] : ""
        if parts.count > 3, kind == "uploads", parts[parts.count - 3] == "blobs" {
            return try upload(try name(parts.dropLast(3)), last, method)
        }
        guard parts.count > 2 else { throw Refusal.unknownPath(path) }
        let name = parts.dropLast(2)
        switch (kind, last) {
        case ("tags", "list"):
            return try RegistryRoute.tags(try self.name(name)).allowing([.get, .head], method)
        case ("blobs", "uploads"):
            return try RegistryRoute.beginUpload(try self.name(name)).allowing([.post], method)
        case ("blobs", _): return try blob(try self.name(name), last, method)
        case ("manifests", _): return try manifest(try self.name(name), last, method)
        case ("referrers", _):
            return try RegistryRoute.referrers(try self.name(name), try digest(last))
                .allowing([.get, .head], method)
        default: throw Refusal.unknownPath(path)
        }
    }

    private static func upload(
        _ name: String, _ text: String, _ method: HTTPRequest.Method
    ) throws -> RegistryRoute {
        let methods: [HTTPRequest.Method] = [.get, .head, .patch, .put, .delete]
        guard methods.contains(method) else { throw Refusal.method(method, allowed: methods) }
        guard let identifier = Identifier(hexadecimal: text) else {
            throw Refusal.unknownUpload
        }
        return switch method {
        case .patch: .uploadPart(name, identifier)
        case .put: .finishUpload(name, identifier)
        case .delete: .cancelUpload(name, identifier)
        default: .uploadStatus(name, identifier)
        }
    }

    private static func blob(
        _ name: String, _ text: String, _ method: HTTPRequest.Method
    ) throws -> RegistryRoute {
        let digest = try digest(text)
        return method == .delete
            ? .deleteBlob(name, digest)
            : try RegistryRoute.blob(name, digest).allowing([.get, .head, .delete], method)
    }

    private static func manifest(
        _ name: String, _ text: String, _ method: HTTPRequest.Method
    ) throws -> RegistryRoute {
        let reference = try reference(text, method)
        return switch method {
        case .put: .putManifest(name, reference)
        case .delete: .deleteManifest(name, reference)
        default:
            try RegistryRoute.manifest(name, reference)
                .allowing([.get, .head, .put, .delete], method)
        }
    }

    private static func reference(
        _ text: String, _ method: HTTPRequest.Method
    ) throws -> ManifestReference {
        if text.contains(":") { return .digest(try digest(text)) }
        guard RefName.isTag(text) else {
            // Nothing can be there under such a tag; only putting it there is a mistake.
            throw method == .put
                ? Refusal(.tagInvalid, "'\(Refusal.shown(text))' is not a valid tag")
                : Refusal(
                    .manifestUnknown, "'\(Refusal.shown(text))' is not a valid tag", status: 404)
        }
        return .tag(text)
    }

    /// A digest of a path or query; throws a `Refusal`.
    static func digest(_ text: String) throws -> OCIDigest {
        do { return try OCIDigest(text) } catch let error as CASError {
            throw Refusal(.digestInvalid, error.message)
        }
    }

    private static func name(_ parts: ArraySlice<String>) throws -> String {
        let name = parts.joined(separator: "/")
        do {
            // Its rules are those of refs, whose tags are this registry's tags.
            return try RefName(name: name).name
        } catch let error as CASError {
            throw Refusal(
                .nameInvalid, "'\(Refusal.shown(name))' is not a valid name",
                detail: error.hint)
        }
    }

    /// The repository that it is about.
    var name: String? {
        switch self {
        case .base, .catalog, .token: nil
        case .tags(let name), .beginUpload(let name), .manifest(let name, _),
            .putManifest(let name, _), .deleteManifest(let name, _), .blob(let name, _),
            .deleteBlob(let name, _), .referrers(let name, _), .uploadStatus(let name, _),
            .uploadPart(let name, _), .finishUpload(let name, _), .cancelUpload(let name, _):
            name
        }
    }

    /// Its name in metrics; the same for all requests of a kind.
    var door: String {
        switch self {
        case .base: "oci-base"
        case .catalog, .tags: "oci-lists"
        case .token: "oci-token"
        case .manifest, .putManifest, .deleteManifest: "oci-manifests"
        case .blob, .deleteBlob: "oci-blobs"
        case .referrers: "oci-referrers"
        case .beginUpload, .uploadStatus, .uploadPart, .finishUpload, .cancelUpload:
            "oci-uploads"
        }
    }
}
