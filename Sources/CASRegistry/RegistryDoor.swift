package import CASCore
package import CASHTTP
import CASOCI
import CASRepository
import CASWire
import HTTPTypes
package import Hummingbird
import Logging
import NIOCore

/// The registry of images under `/v2`: the OCI distribution specification (Registry.md).
///
/// Translates and decides nothing: what a repository has is a link of the store, a tag is a ref.
package struct RegistryDoor: HTTPResponder {
    package typealias Context = DoorContext

    let shared: SharedResources
    let isTLS: Bool
    let publicURL: String
    let clock: any WallClock
    let tokens: BearerTokens
    let domain = Domain.standard

    var repository: Repository { shared.repository }

    /// A door of the store that the native door serves.
    package init(
        _ shared: SharedResources, isTLS: Bool, publicURL: String, clock: any WallClock
    ) {
        self.shared = shared
        self.isTLS = isTLS
        self.publicURL = publicURL
        self.clock = clock
        tokens = BearerTokens()
    }

    /// Whether a request is for this door, by its path.
    package static func isFor(_ path: String) -> Bool {
        path == "/v2" || path.hasPrefix("/v2/")
    }

    package func respond(to request: Request, context: Context) async throws -> Response {
        shared.begin()
        var notes = RequestNotes(door: "oci-unknown")
        var route: RegistryRoute?
        var response: Response
        do {
            let found = try RegistryRoute(request.method, path: request.uri.path)
            route = found
            notes.door = found.door
            response = try await answer(found, request, context, &notes)
        } catch {
            let refusal = Refusal.of(error, route)
            response = refusal.response
            if refusal.status >= 500 {
                context.logger.error("request failed", metadata: ["cause": "\(error)"])
            }
        }
        response.headers.set("Docker-Distribution-Api-Version", "registry/2.0")
        // A manifest has the type that somebody pushed it with: no browser is to take it for a page of this server.
        response.headers.set("X-Content-Type-Options", "nosniff")
        response.headers.set("Content-Security-Policy", "default-src 'none'; sandbox")
        if request.method == .head {
            // The same headers, and nothing of the body.
            response.body = ResponseBody(contentLength: response.body.contentLength ?? 0) {
                try await $0.finish(nil)
            }
        }
        shared.end(request, response, notes, context)
        return response
    }

    /// Where a request gets credentials.
    func challenge(_ request: Request) -> Challenge {
        Challenge(request, isTLS: isTLS, publicURL: publicURL)
    }

    private func answer(
        _ route: RegistryRoute, _ request: Request, _ context: Context, _ notes: inout RequestNotes
    ) async throws -> Response {
        let query = RegistryQuery(request.uri.query)
        if route == .token { return try await token(query, request, context, &notes) }
        let scope = route.scope
        let challenge = challenge(request)
        let caller = try await caller(request, scope, challenge)
        notes.subject = caller.subject
        // Refused before a body is read, and before anything is looked up.
        if let scope { try caller.require(scope, challenge) }
        switch route {
        case .base, .token:
            // Clients learn here, and only here, where tokens are: one that may read already, and is not told, could
            // never push, whatever its user logged in with.
            if caller.couldLogIn, !request.headers.contains(.authorization) {
                throw challenge.refusal("whoever shows a token may do more", [])
            }
            return RegistryDoor.json(.object([]))
        case .catalog: return try await catalog(query, caller)
        case .tags(let name): return try await tags(name, query)
        case .manifest(let name, let reference):
            return try await manifest(name, reference, request, context, &notes)
        case .putManifest(let name, let reference):
            return try await putManifest(
                name, reference, query, caller, request, context, &notes)
        case .deleteManifest(let name, let reference):
            return try await deleteManifest(name, reference, caller)
        case .blob(let name, let digest):
            return try await blob(name, digest, request, context, &notes)
        case .deleteBlob(let name, let digest): return try await deleteBlob(name, digest, caller)
        case .referrers(let name, let digest): return try await referrers(name, digest, query)
        case .beginUpload(let name):
            return try await beginUpload(name, query, caller, request, context, &notes)
        case .uploadStatus(let name, let upload):
            guard let size = try await uploadSize(name, upload) else {
                throw Refusal.unknownUpload
            }
            return RegistryDoor.uploadAnswer(name, upload, size, status: .noContent)
        case .uploadPart(let name, let upload):
            return try await uploadPart(name, upload, request, context, &notes)
        case .finishUpload(let name, let upload):
            return try await finishUpload(name, upload, query, request, context, &notes)
        case .cancelUpload(let name, let upload):
            let isThere = try await shared.blocking { [repository, domain] in
                try repository.cancelUpload(name, upload, domain: domain)
            }
            guard isThere else { throw Refusal.unknownUpload }
            return Response(status: .noContent)
        }
    }

    /// Reads a body that is to come into memory whole.
    func receive(
        _ body: IncomingBody, _ request: Request, _ context: Context
    ) async throws {
        do { try await body.receive(request, context) } catch let error as SlowBody {
            // Nothing more is read; who goes on sending learns of it when the connection ends.
            context.closeSoon()
            throw error
        }
    }

    /// The digest that the store knows something by; nil for a SHA-512 that nobody pushed.
    func resolve(_ digest: OCIDigest) throws -> Digest? {
        switch digest {
        case .sha256(let digest): digest
        case .sha512(let bytes): try repository.digest(alias: bytes, domain: domain)
        }
    }

    /// An answer in JSON.
    static func json(
        _ value: JSON, type: String = "application/json", headers: HTTPFields = HTTPFields()
    ) -> Response {
        var headers = headers
        headers[.contentType] = type
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: value.encode())))
    }
}

extension RegistryRoute {
    /// What a caller has to be allowed; nil for what needs credentials and no rights.
    var scope: RegistryScope? {
        switch self {
        case .base, .token: nil
        case .catalog: .catalog
        case .tags(let name), .manifest(let name, _), .blob(let name, _), .referrers(let name, _):
            RegistryScope(name: name, actions: [.pull])
        case .deleteManifest(let name, _), .deleteBlob(let name, _):
            RegistryScope(name: name, actions: [.delete])
        case .beginUpload(let name), .uploadStatus(let name, _), .uploadPart(let name, _),
            .finishUpload(let name, _), .cancelUpload(let name, _), .putManifest(let name, _):
            // Who may only write could not see what it pushed, and clients ask for both.
            RegistryScope(name: name, actions: [.pull, .push])
        }
    }
}

extension HTTPFields {
    /// Sets a header by a name that is not in the library.
    mutating func set(_ name: String, _ value: String) {
        guard let field = HTTPField.Name(name) else { return }
        self[field] = value
    }

    /// Adds a header that may be there several times.
    mutating func add(_ name: String, _ value: String) {
        guard let field = HTTPField.Name(name) else { return }
        append(HTTPField(name: field, value: value))
    }
}

extension Response {
    /// Sets the header by which clients check what they get.
    mutating func setDigest(_ digest: OCIDigest) {
        headers.set("Docker-Content-Digest", digest.description)
    }
}
