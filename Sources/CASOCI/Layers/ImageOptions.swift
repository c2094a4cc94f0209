import CASCore
import CASTree

/// How a snapshot is an image: where its tree stands, who owns it, on what it is based and how it is run.
///
/// A part of the ref, never of a request; the same tree and options are the same image.
package struct ImageOptions: Hashable, Sendable {
    /// The version of the encoding that this program writes and reads.
    package static let formatVersion: UInt64 = 1
    /// Bytes of encoded options at most.
    package static let maximumByteCount = 64 << 10
    /// Variables, words and labels of each kind at most.
    package static let maximumCount = 1_000

    /// What counts for the layers.
    package var layers: LayerOptions
    /// The image below; nil for none.
    package var base: ImageReference?
    /// Variables as `NAME=VALUE`, which replace those of the base of the same name.
    package var environment: [String] = []
    /// The entry point; nil for that of the base, empty for none.
    package var entrypoint: [String]?
    /// The arguments; nil for those of the base, or none where the entry point is set; empty for none.
    package var command: [String]?
    /// The working directory; empty for that of the base.
    package var workingDirectory = ""
    /// The user; empty for that of the base.
    package var user = ""
    /// Labels, which replace those of the base of the same name.
    package var labels: [String: String] = [:]
    /// Annotations of the manifest.
    package var annotations: [String: String] = [:]
    /// Seconds since 1970 at which the image is said to be created.
    package var created: Int64 = 0
    /// The processor it is for; empty for that of the base.
    package var architecture = ""
    /// The variant of the processor; empty for that of the base.
    package var variant = ""
    /// The operating system; empty for that of the base.
    package var os = ""

    /// Options that change nothing but where the tree stands.
    package init(layers: LayerOptions) {
        self.layers = layers
    }

    /// Throws `invalidArgument` for what no image can have.
    package func check() throws {
        for entry in environment {
            guard let equals = entry.utf8.firstIndex(of: UInt8(ascii: "=")),
                equals != entry.utf8.startIndex
            else {
                throw CASError(
                    .invalidArgument, "'\(PathText.printable(entry.utf8))' is no variable",
                    hint: "a variable is NAME=VALUE")
            }
        }
        let counts = [
            environment.count, entrypoint?.count ?? 0, command?.count ?? 0, labels.count,
            annotations.count,
        ]
        guard counts.allSatisfy({ $0 <= ImageOptions.maximumCount }) else {
            throw CASError(
                .invalidArgument,
                "an image has more than \(ImageOptions.maximumCount) variables, words or labels")
        }
        let texts = environment + (entrypoint ?? []) + (command ?? []) + [workingDirectory, user]
        guard !texts.contains(where: { $0.utf8.contains(0) }) else {
            throw CASError(.invalidArgument, "an option of the image holds a NUL")
        }
        guard encode().count <= ImageOptions.maximumByteCount else {
            throw CASError(
                .invalidArgument,
                "the options of the image have more than "
                    + "\(ByteCount.text(UInt64(ImageOptions.maximumByteCount)))")
        }
    }
}

/// The one encoding of options (Layers.md, "Options").
extension ImageOptions {
    /// The options in bytes.
    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, varint: ImageOptions.formatVersion)
        output.append(field: 2, bytes: layers.prefix)
        output.append(field: 3, varint: UInt64(layers.userID))
        output.append(field: 4, varint: UInt64(layers.groupID))
        output.append(field: 5, text: base?.description ?? "")
        for entry in environment { output.append(element: 6, bytes: entry.utf8) }
        output.append(field: 7, flag: entrypoint != nil)
        for word in entrypoint ?? [] { output.append(element: 8, bytes: word.utf8) }
        output.append(field: 9, flag: command != nil)
        for word in command ?? [] { output.append(element: 10, bytes: word.utf8) }
        output.append(field: 11, text: workingDirectory)
        output.append(field: 12, text: user)
        ImageOptions.append(field: 13, labels, to: &output)
        // Times before 1970 as protocol buffers write a negative int64.
        output.append(field: 14, varint: UInt64(bitPattern: created))
        output.append(field: 15, text: architecture)
        output.append(field: 16, text: variant)
        output.append(field: 17, text: os)
        ImageOptions.append(field: 18, annotations, to: &output)
        return output
    }

    /// Each member as a message of 1 key and 2 value, by ascending bytes of the keys.
    private static func append(
        field: UInt32, _ map: [String: String], to output: inout [UInt8]
    ) {
        for key in JSON.sorted(map.keys) {
            var member: [UInt8] = []
            member.append(field: 1, text: key)
            member.append(field: 2, text: map[key] ?? "")
            output.append(element: field, bytes: member)
        }
    }

    /// Reads options; throws `dataLoss` for what is none, `unimplemented` for those of a newer version.
    package init(decoding bytes: [UInt8]) throws {
        guard bytes.count <= ImageOptions.maximumByteCount else { throw ImageOptions.damaged() }
        self = try bytes.withUnsafeBytes { try ImageOptions(fields: Protobuf.Reader($0)) }
        guard encode() == bytes else { throw ImageOptions.damaged() }
        try check()
    }

    private init(fields: Protobuf.Reader) throws {
        var reader = fields
        var version: UInt64 = 0
        var prefix: [UInt8] = []
        var owner: (user: UInt64, group: UInt64) = (0, 0)
        self.init(layers: try LayerOptions())
        while let field = try reader.next() {
            switch (field.number, field.type) {
            case (1, .varint):
                version = try reader.varint()
                guard version == ImageOptions.formatVersion else {
                    throw CASError(
                        .unimplemented, "the options of an image are of a newer version of cas",
                        hint: "use the newest cas on both sides")
                }
            case (2, .lengthDelimited): prefix = try reader.array()
            case (3, .varint): owner.user = try reader.varint()
            case (4, .varint): owner.group = try reader.varint()
            case (5, .lengthDelimited): base = try ImageReference(try reader.string())
            case (14, .varint): created = Int64(bitPattern: try reader.varint())
            default: try read(field.number, field.type, &reader)
            }
        }
        guard version > 0, let user = UInt32(exactly: owner.user),
            let group = UInt32(exactly: owner.group)
        else { throw ImageOptions.damaged() }
        layers = try LayerOptions(prefix: prefix, userID: user, groupID: group)
    }

    private mutating func read(
        _ number: UInt32, _ type: Protobuf.WireType, _ reader: inout Protobuf.Reader
    ) throws {
        switch (number, type) {
        case (6, .lengthDelimited): environment.append(try reader.string())
        case (7, .varint): if try reader.varint() == 1 { entrypoint = entrypoint ?? [] }
        case (8, .lengthDelimited): entrypoint = (entrypoint ?? []) + [try reader.string()]
        case (9, .varint): if try reader.varint() == 1 { command = command ?? [] }
        case (10, .lengthDelimited): command = (command ?? []) + [try reader.string()]
        case (11, .lengthDelimited): workingDirectory = try reader.string()
        case (12, .lengthDelimited): user = try reader.string()
        case (13, .lengthDelimited): try ImageOptions.read(&reader, into: &labels)
        case (15, .lengthDelimited): architecture = try reader.string()
        case (16, .lengthDelimited): variant = try reader.string()
        case (17, .lengthDelimited): os = try reader.string()
        case (18, .lengthDelimited): try ImageOptions.read(&reader, into: &annotations)
        default: throw ImageOptions.damaged()
        }
    }

    private static func read(
        _ reader: inout Protobuf.Reader, into map: inout [String: String]
    ) throws {
        var member = Protobuf.Reader(try reader.bytes())
        var key = ""
        var value = ""
        while let field = try member.next() {
            switch (field.number, field.type) {
            case (1, .lengthDelimited): key = try member.string()
            case (2, .lengthDelimited): value = try member.string()
            default: throw damaged()
            }
        }
        map[key] = value
    }

    private static func damaged() -> CASError {
        CASError(.dataLoss, "the options of an image are damaged")
    }
}
