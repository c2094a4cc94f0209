import CASCore
import CASOCI
import CASTree

extension FuzzTargets {
    static let images: [FuzzTarget] = documents + ranges + archives

    private static let manifestSample = Array(
        (#"{"schemaVersion":2,"mediaType":"\#(MediaType.imageManifest)","config":{"mediaType":"a/b","#
            + #""digest":"\#(digest)","size":1},"layers":[{"mediaType":"c/d","digest":"\#(other)","#
            + #""size":2,"urls":["u"],"data":"AA=="}],"annotations":{"a":"\u00e9\n"},"x":[1.5e3,null]}"#)
            .utf8)

    private static let indexSample = Array(
        (#"{"schemaVersion":2,"manifests":[{"mediaType":"\#(MediaType.imageManifest)","#
            + #""digest":"\#(digest)","size":1,"platform":{"os":"linux","architecture":"arm"}}],"#
            + #""subject":{"mediaType":"a/b","digest":"\#(other)","size":3}}"#)
            .utf8)

    private static let configSample = Array(
        (#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":["c"]},"#
            + #""rootfs":{"type":"layers","diff_ids":["\#(digest)"]},"history":[{"empty_layer":true}]}"#)
            .utf8)

    /// A registry's refusal is one too.
    private static func summary(_ bytes: [UInt8], _ type: String?) throws -> ManifestSummary {
        do {
            return try ManifestSummary(bytes, contentType: type)
        } catch is RegistryError {
            throw refused()
        }
    }

    private static let documents: [FuzzTarget] = [
        .stable(
            "json", [manifestSample, indexSample, configSample], decode: { try JSON(decoding: $0) },
            encode: { $0.encode() }),
        FuzzTarget("manifest", [manifestSample, indexSample]) { bytes in
            let isIndex = bytes.count % 2 == indexSample.count % 2
            let own = try? summary(bytes, nil)
            let type = isIndex ? MediaType.imageIndex : MediaType.imageManifest
            let summary = try summary(bytes, own?.mediaType ?? type)
            let digests = summary.members.map(\.digest)
            try require(Set(digests).count == digests.count, "a digest is there twice")
        },
        .stable(
            "image-manifest", [manifestSample], decode: { try ImageManifest(decoding: $0) },
            encode: { $0.encode() }),
        .stable(
            "image-index", [indexSample], decode: { try ImageIndex(decoding: $0) },
            encode: { $0.encode() }),
        FuzzTarget("image-config", [configSample]) { bytes in
            let config = try ImageConfig(decoding: bytes)
            let options = ImageOptions(layers: try LayerOptions())
            let layer = ImageLayer(plain: digest, size: 1, createdBy: "x")
            let made = config.adding([layer], options: options)
            try require(
                try ImageConfig(decoding: made.encode()).diffIDs == config.diffIDs + ["\(digest)"],
                "a layer is lost")
        },
        .canonical(
            "image-options", [[8, 1], optionsSample], decode: { try ImageOptions(decoding: $0) },
            encode: { $0.encode() }),
        .canonical(
            "layer-part", [partSample, [0x10, 1]], decode: { try LayerPart(decoding: $0) },
            encode: { $0.encode() }),
        .stable(
            "carrier-index", [carrierSample], decode: { try CarrierIndex(decoding: $0) },
            encode: { $0.encode() }),
        .text(
            "image-reference",
            ["a/b:c", "h.x:5000/a@\(digest)", "oci://h/a:b", "[::1]:1/x", "localhost/a"],
            parse: { try ImageReference($0) }, print: \.description),
        .text(
            "oci-digest", ["\(digest)", "sha512:" + digest.hexadecimal + other.hexadecimal],
            parse: { try OCIDigest($0) }, print: \.description),
    ]

    private static let optionsSample: [UInt8] = {
        guard
            var options = (try? LayerOptions(prefix: [0x61, 0x2f, 0x62], userID: 1, groupID: 2))
                .map(ImageOptions.init)
        else { return [] }
        options.environment = ["A=b"]
        options.entrypoint = ["c"]
        options.labels = ["d": "e"]
        options.created = -7
        return options.encode()
    }()

    private static let carrierSample: [UInt8] = {
        var sample: [UInt8] = []
        sample.append(field: 1, varint: CarrierIndex.formatVersion)
        sample.append(field: 2, bytes: [UInt8](repeating: 1, count: 152))
        sample.append(field: 5, bytes: [0x77])
        sample.append(field: 8, varint: 1)
        var layer: [UInt8] = []
        layer.append(field: 1, bytes: digest.bytes)
        layer.append(field: 2, varint: 3_072)
        layer.append(field: 3, bytes: partSample)
        sample.append(element: 9, bytes: layer)
        sample.append(element: 10, bytes: other.bytes)
        return sample
    }()

    private static let partSample: [UInt8] = {
        guard let name = try? EntryName("x") else { return [] }
        return LayerPart(
            path: [0x61], selection: .group(bits: 2, index: 3, excluded: [name])
        ).encode()
    }()

    private static let ranges: [FuzzTarget] = [
        FuzzTarget("byte-ranges", ["bytes=0-9,5-,-7", "bytes=1-2, 3-4"].map { Array($0.utf8) }) {
            bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            for size: UInt64 in [0, 1, 1_000, .max] {
                switch ByteRanges(text, size: size) {
                case .ranges(let ranges):
                    try require(
                        !ranges.isEmpty
                            && ranges.allSatisfy { !$0.isEmpty && $0.upperBound <= size },
                        "'\(text)' of \(size) is \(ranges)")
                case .malformed: throw refused()
                case .unsatisfiable, .tooMany: break
                }
            }
        },
        FuzzTarget("content-range", ["0-9", "bytes 5-9/10", "bytes 1-2/*"].map { Array($0.utf8) }) {
            bytes in
            guard let range = ContentRange(String(decoding: bytes, as: UTF8.self)) else {
                throw refused()
            }
            try require(ContentRange(range.description) == range, "\(range) came back otherwise")
        },
        FuzzTarget("media-type", ["a/b; c=d", " a/b "].map { Array($0.utf8) }) { bytes in
            guard let type = MediaType.parse(String(decoding: bytes, as: UTF8.self)) else {
                throw refused()
            }
            try require(MediaType.parse(type) == type, "'\(type)' came back otherwise")
        },
    ]
}
