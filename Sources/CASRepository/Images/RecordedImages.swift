import CASCatalog
import CASCore
import CASWire

/// Recorded state of images: what a rebuild applies, and what a checkpoint repeats.
enum RecordedImages {
    private static let page = 1_000

    /// Applies an event about images; what was purged comes back with none.
    static func apply(_ event: StoreEvent, _ transaction: any CatalogTransaction) throws {
        func isPurged(_ digest: Digest, _ domain: Domain) throws -> Bool {
            try transaction.purged([digest], domain: domain)[0] != nil
        }
        switch event {
        case .ociLinked(let link, let domain, _):
            guard try !isPurged(link.digest, domain) else { return }
            try transaction.insert(link: link, used: link.created.seconds, domain: domain)
        case .ociUnlinked(let name, let digest, let kind, _, let domain, _):
            _ = try transaction.removeLink(name, digest, kind, domain: domain)
        case .digestAlias(let sha512, let digest, let domain, _):
            guard try !isPurged(digest, domain) else { return }
            try transaction.insert(alias: sha512, digest, domain: domain)
        case .imageDerived(let image, let domain, _):
            guard try !isPurged(image.manifest, domain), try !isPurged(image.tree, domain) else {
                return
            }
            try transaction.insert(derivedImage: image, domain: domain)
        default: return
        }
    }

    /// The events that the images of a catalog amount to.
    static func events(_ reader: any CatalogReader, domain: Domain) throws -> [StoreEvent] {
        var events: [StoreEvent] = []
        var lastLink: OCILink?
        while true {
            let links = try reader.links(after: lastLink, limit: page, domain: domain).map(\.link)
            events += links.map { .ociLinked($0, domain, sequence: 0) }
            guard links.count == page else { break }
            lastLink = links.last
        }
        var lastAlias: [UInt8]?
        while true {
            let aliases = try reader.aliases(after: lastAlias, limit: page, domain: domain)
            events += aliases.map {
                .digestAlias(sha512: $0.sha512, $0.digest, domain, sequence: 0)
            }
            guard aliases.count == page else { break }
            lastAlias = aliases.last?.sha512
        }
        var lastImage: DerivedImage?
        while true {
            let images = try reader.derivedImages(after: lastImage, limit: page, domain: domain)
            events += images.map { .imageDerived($0, domain, sequence: 0) }
            guard images.count == page else { break }
            lastImage = images.last
        }
        return events
    }
}
