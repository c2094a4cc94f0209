import CASClient
import CASCore
package import CASOCI

/// A manifest as a registry has it.
package struct RegistryManifest: Hashable, Sendable {
    /// Its bytes.
    package let bytes: [UInt8]
    /// What it says it is.
    package let mediaType: String
    /// The digest under which it was asked for, else that of its bytes.
    package let digest: OCIDigest

    /// A manifest from its parts.
    package init(bytes: [UInt8], mediaType: String, digest: OCIDigest) {
        self.bytes = bytes
        self.mediaType = mediaType
        self.digest = digest
    }

    /// How others name it.
    package var descriptor: Descriptor {
        Descriptor(mediaType: mediaType, digest: digest, size: UInt64(bytes.count))
    }
}

extension RegistryClient {
    /// Bytes of a manifest at most, as all clients have it.
    package static let manifestBytes = 4 << 20
    private static let maximumPages = 1_000
    private static let tagsPerPage = 1_000
    private static let absent: UInt = 404

    private static let accepted = [
        MediaType.imageManifest, MediaType.imageIndex, MediaType.dockerManifest,
        MediaType.dockerManifestList, "*/*",
    ].joined(separator: ", ")

    private func manifestCall(_ method: String, _ selector: String) -> Call {
        Call(
            method: method, address: location.address("\(repository)/manifests/\(selector)"),
            headers: [("accept", RegistryClient.accepted)], scopes: [.pull(repository)],
            what: "manifest \(name):\(selector)", accepts: [RegistryClient.absent])
    }

    /// The manifest of a tag or digest, whose bytes are what its digest says; nil where there is none.
    package func manifest(_ selector: String) throws -> RegistryManifest? {
        let answer = try call(
            manifestCall("GET", selector), maximumBytes: RegistryClient.manifestBytes)
        guard answer.head.status != RegistryClient.absent else { return nil }
        let claimed = selector.contains(":") ? selector : answer.head["docker-content-digest"]
        let digest = try claimed.map { try OCIDigest($0) } ?? OCIDigest.of(answer.body)
        guard digest.names(answer.body) else {
            throw CASError(
                .dataLoss, "\(location.host) sent another manifest than \(digest) for \(name)")
        }
        return RegistryManifest(
            bytes: answer.body, mediaType: try mediaType(answer), digest: digest)
    }

    private func mediaType(_ answer: Answer) throws -> String {
        let header = answer.head["content-type"].flatMap { MediaType.parse($0) } ?? ""
        guard !MediaType.isManifest(header), !MediaType.isIndex(header) else { return header }
        // Servers of files say what every file is.
        let document: JSON
        do { document = try JSON(decoding: answer.body) } catch { throw garbled() }
        return document["mediaType"]?.text
            ?? (document["manifests"] != nil
                ? MediaType.imageIndex
                : header.hasPrefix("application/vnd") ? header : MediaType.imageManifest)
    }

    /// The digest that a tag names; nil where there is none.
    package func digest(of selector: String) throws -> OCIDigest? {
        let answer = try call(manifestCall("HEAD", selector))
        guard answer.head.status != RegistryClient.absent else { return nil }
        guard let text = answer.head["docker-content-digest"] else {
            return try manifest(selector)?.digest
        }
        return try OCIDigest(text)
    }

    /// Puts a manifest under a tag or its digest; what it names has to be there.
    package func put(manifest bytes: [UInt8], mediaType: String, as selector: String) throws {
        var request = manifestCall("PUT", selector)
        request.headers = [("content-type", mediaType)]
        request.body = .bytes(bytes)
        request.scopes = [.push(repository)]
        request.accepts = []
        let answer = try call(request)
        guard let text = answer.head["docker-content-digest"] else { return }
        guard let digest = try? OCIDigest(text), digest.names(bytes) else {
            throw CASError(
                .dataLoss, "\(location.host) took another manifest than it was sent: \(text)")
        }
    }

    /// All tags of the repository; nil where there is no such repository.
    package func tags() throws -> [String]? {
        var found: [String] = []
        var isThere = true
        try pages(
            Call(
                method: "GET",
                address: location.address("\(repository)/tags/list").adding(
                    query: "n", "\(RegistryClient.tagsPerPage)"),
                scopes: [.pull(repository)], what: "the list of tags",
                accepts: [RegistryClient.absent]), maximumPages: RegistryClient.maximumPages
        ) { answer in
            guard answer.head.status != RegistryClient.absent else {
                isThere = false
                return
            }
            guard let document = try? JSON(decoding: answer.body) else { throw garbled() }
            found += document["tags"]?.texts ?? []
        }
        return isThere ? found : nil
    }

    /// What refers to a manifest, of one type of artifact or of any.
    ///
    /// Where the registry does not know that itself, the tag that stands in for it is read.
    package func referrers(to subject: OCIDigest, artifactType: String? = nil) throws
        -> [Descriptor]
    {
        var found: [Descriptor] = []
        var isKnown = true
        var address = location.address("\(repository)/referrers/\(subject)")
        if let artifactType { address = address.adding(query: "artifactType", artifactType) }
        try pages(
            Call(
                method: "GET", address: address, scopes: [.pull(repository)],
                what: "the list of referrers", accepts: [RegistryClient.absent]),
            maximumPages: RegistryClient.maximumPages
        ) { answer in
            guard answer.head.status != RegistryClient.absent else {
                isKnown = false
                return
            }
            do { found += try ImageIndex(decoding: answer.body).manifests } catch {
                throw garbled()
            }
        }
        if !isKnown, let index = try manifest(subject.referrersTag) {
            found = try ImageIndex(decoding: index.bytes).manifests
        }
        return found.filter { artifactType == nil || $0.artifactType == artifactType }
    }
}
