import CASCatalog
import CASCore
import CASWire
import Testing

/// What every catalog has to do for images, beside what the model compares.
@Suite struct ImageConformanceTests {
    private func link(
        _ name: String, _ digest: Int, parts: [Int] = [], optional: [Int] = [], subject: Int? = nil
    ) -> OCILink {
        OCILink(
            name: name, digest: Sample.digest(digest), kind: .manifest, size: 5,
            subject: subject.map(Sample.digest), created: Sample.time,
            parts: parts.map(Sample.digest), optional: optional.map(Sample.digest))
    }

    @Test(arguments: CatalogKind.allCases)
    func `a manifest reaches what any name says that it names, and not what it is about`(
        kind: CatalogKind
    ) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { change in
            try change.insert(
                link: link("a", 1, parts: [3], subject: 6), used: 1, domain: .standard)
            try change.insert(
                link: link("b", 1, parts: [3], optional: [4], subject: 6), used: 1,
                domain: .standard)
            try change.insert(link: link("b", 2, parts: [5]), used: 1, domain: .standard)
        }
        try fixture.catalog.read { (reader) throws in
            #expect(
                try reader.parts(of: Sample.digest(1), domain: .standard)
                    == [Sample.digest(3), Sample.digest(4)].sorted())
            #expect(try reader.parts(of: Sample.digest(3), domain: .standard) == nil)
            #expect(
                try reader.manifests(
                    naming: [Sample.digest(4), Sample.digest(5)], domain: .standard)
                    == [Sample.digest(1), Sample.digest(2)].sorted())
            #expect(
                try reader.manifests(naming: [Sample.digest(4)], domain: .standard)
                    == [Sample.digest(1)])
            #expect(
                try reader.manifests(naming: [Sample.digest(6)], domain: .standard).isEmpty)
            let about = try reader.referrers(to: Sample.digest(6), domain: .standard)
            #expect(about.map(\.name) == ["a", "b"])
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `an image stays while its manifest and configuration do`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        func image(_ tree: Int) -> DerivedImage {
            DerivedImage(
                tree: Sample.digest(tree), options: [], manifest: Sample.digest(tree + 10),
                mediaType: "m", config: Sample.digest(tree + 20),
                layers: [DerivedLayer(digest: Sample.digest(5), size: 1, format: 1, part: [])],
                created: Sample.time, inherited: [Sample.digest(6)])
        }
        try fixture.catalog.write { change in
            for tree in 1...3 { try change.insert(derivedImage: image(tree), domain: .standard) }
            // Copies of its layers.
            try change.remove(
                aliasesAndImagesOf: [Sample.digest(5), Sample.digest(6)], domain: .standard)
            let all = try change.derivedImages(after: nil, limit: 9, domain: .standard)
            #expect(all.count == 3)
            try change.remove(
                aliasesAndImagesOf: [Sample.digest(11), Sample.digest(22)], domain: .standard)
            let rest = try change.derivedImages(after: nil, limit: 9, domain: .standard)
            #expect(rest == [image(3)])
        }
    }
}
