import CASCatalog
import CASCore
import CASWire

/// Recorded state of images: what a rebuild applies, and what a checkpoint repeats.
enum RecordedImages {
    /// Applies an event about images; what was purged comes back with none.
    ///
    /// Nobody knows any more which links somebody relied on lately: all count as relied on now.
    static func apply(
        _ event: StoreEvent, now: Timestamp, _ transaction: any CatalogTransaction
    ) throws {
        func isPurged(_ digest: Digest, _ domain: Domain) throws -> Bool {
            try transaction.purged([digest], domain: domain)[0] != nil
        }
        switch event {
        case .ociLinked(let link, let domain, _):
            guard try !isPurged(link.digest, domain) else { return }
            try transaction.insert(link: link, used: now.seconds, domain: domain)
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

    /// Removes the images whose manifest or configuration no pack has: they are made again when somebody asks.
    ///
    /// The record of an image that was collected may be found where its bytes are gone. One stays whose layers names
    /// have, as these can be made by it alone.
    static func removeImagesWithoutBytes(_ transaction: any CatalogTransaction) throws {
        let (limit, domain) = (Limits.standard.listingEntries, Domain.standard)
        var after: DerivedImage?
        while true {
            let page = try transaction.derivedImages(after: after, limit: limit, domain: domain)
            for image in page {
                let places = try transaction.locations(
                    of: [image.manifest, image.config, image.tree], domain: domain
                ).map { $0 != nil }
                if places[0], places[1] { continue }
                let isNeeded =
                    try places[2]
                    && image.layers.contains { layer in
                        try !transaction.links(to: layer.digest, limit: 1, domain: domain).isEmpty
                    }
                guard !isNeeded else { continue }
                try transaction.removeDerivedImage(
                    tree: image.tree, options: image.options, domain: domain)
            }
            guard page.count == limit, let last = page.last else { return }
            after = last
        }
    }

    /// All manifests that names have.
    static func manifests(_ reader: any CatalogReader) throws -> Set<Digest> {
        let limit = Limits.standard.listingEntries
        var found: Set<Digest> = []
        var after: OCILink?
        while true {
            let page = try reader.links(after: after, limit: limit, domain: .standard).map(\.link)
            found.formUnion(page.lazy.filter { $0.kind == .manifest }.map(\.digest))
            guard page.count == limit, let last = page.last else { return found }
            after = last
        }
    }

    /// The events that the images of a catalog amount to, page by page.
    enum Pages {
        case links(after: OCILink?)
        case aliases(after: [UInt8]?)
        case images(after: DerivedImage?)
        case done

        /// Some events more, perhaps none; nil once there are no more.
        mutating func next(
            _ reader: any CatalogReader, limit: Int, domain: Domain
        ) throws -> [StoreEvent]? {
            switch self {
            case .links(let after):
                let page = try reader.links(after: after, limit: limit, domain: domain).map(\.link)
                self = page.count < limit ? .aliases(after: nil) : .links(after: page.last)
                return page.map { .ociLinked($0, domain, sequence: 0) }
            case .aliases(let after):
                let page = try reader.aliases(after: after, limit: limit, domain: domain)
                self = page.count < limit ? .images(after: nil) : .aliases(after: page.last?.sha512)
                return page.map { .digestAlias(sha512: $0.sha512, $0.digest, domain, sequence: 0) }
            case .images(let after):
                let page = try reader.derivedImages(after: after, limit: limit, domain: domain)
                self = page.count < limit ? .done : .images(after: page.last)
                return page.map { .imageDerived($0, domain, sequence: 0) }
            case .done: return nil
            }
        }
    }
}
