import CASCore
import CASTree
import Testing

/// A Directory message in any form but the canonical one is a blob and no tree.
@Suite struct CanonicalTests {
    static let hash = Array(Digest.of(Array("x".utf8)).hexadecimal.utf8)

    /// A length-delimited field.
    static func field(_ number: UInt32, _ value: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.append(element: number, bytes: value)
        return output
    }

    static func digest(_ hash: [UInt8] = hash, size: [UInt8] = [0x10, 1]) -> [UInt8] {
        field(2, field(1, hash) + size)
    }

    static func file(_ name: [UInt8], _ digest: [UInt8] = digest(), rest: [UInt8] = []) -> [UInt8] {
        field(1, field(1, name) + digest + rest)
    }

    static func file(_ name: String) -> [UInt8] { file(Array(name.utf8)) }

    static func subdirectory(_ name: String) -> [UInt8] {
        field(2, field(1, Array(name.utf8)) + digest())
    }

    static func link(_ name: String, _ target: [UInt8] = [0x74]) -> [UInt8] {
        field(3, field(1, Array(name.utf8)) + field(2, target))
    }

    private func decode(_ bytes: [UInt8], _ limits: Limits = .standard) throws -> Directory {
        try Directory(decodingCanonical: bytes, limits: limits)
    }

    @Test func `the parts of this suite make a good message`() throws {
        let bytes = Self.file("a") + Self.file("b") + Self.subdirectory("c") + Self.link("d")
        let directory = try decode(bytes)
        #expect(directory.encode() == bytes)
        #expect(directory.count == 4)
    }

    static let foreign: [(String, [UInt8])] = [
        ("files out of order", file("b") + file("a")),
        ("a name twice among files", file("a") + file("a")),
        ("a file and a directory of one name", file("a") + subdirectory("a")),
        ("a file and a link of one name", file("a") + link("a")),
        ("a directory and a link of one name", subdirectory("a") + link("a")),
        ("directories out of order", subdirectory("b") + subdirectory("a")),
        ("links out of order", link("b") + link("a")),
        ("a directory before a file", subdirectory("b") + file("a")),
        ("order of signed bytes", file(Array("é".utf8)) + file("a")),
        ("a size of zero written out", file([0x61], digest(size: [0x10, 0]))),
        ("a false flag written out", file([0x61], rest: [0x20, 0])),
        ("a flag of two", file([0x61], rest: [0x20, 2])),
        ("a flag of two bytes", file([0x61], rest: [0x20, 0x81, 0])),
        ("a size in more bytes than needed", file([0x61], digest(size: [0x10, 0x81, 0]))),
        (
            "a negative size",
            file([0x61], digest(size: [0x10] + [UInt8](repeating: 0xff, count: 9) + [1]))
        ),
        ("the digest before the name", field(1, digest() + field(1, [0x61]))),
        ("a name given twice", field(1, field(1, [0x61]) + field(1, [0x62]) + digest())),
        ("a digest given twice", file([0x61], digest() + digest())),
        ("no digest", field(1, field(1, [0x61]))),
        ("no name", field(1, digest())),
        ("no target", field(3, field(1, [0x61]))),
        ("node properties", file([0x61], rest: field(6, []))),
        ("an unknown field of the directory", file("a") + [0x28, 1]),
        ("node properties of the directory", file("a") + field(5, [])),
        ("an unknown field of a link", field(3, field(1, [0x61]) + field(2, [0x62]) + [0x18, 1])),
        (
            "an unknown field of a digest",
            file([0x61], field(2, field(1, hash) + [0x10, 1, 0x18, 1]))
        ),
        ("a trailing byte", file("a") + [0]),
        ("a trailing key", file("a") + [0x0a]),
        ("an entry longer than the message", [0x0a, 0x7f, 0x0a]),
        ("a key in two bytes", [0x8a, 0] + file("a").dropFirst()),
        ("a length in two bytes", [0x0a, 0xc9, 0] + file("a").dropFirst(2)),
        ("a varint where an entry is meant", [0x08, 1]),
        ("a group", [0x0b, 0x0c]),
        ("the field number zero", [0x02, 0]),
        ("a digest in capitals", file([0x61], digest(hash.map { $0 >= 0x61 ? $0 - 0x20 : $0 }))),
        ("a digest of 63 characters", file([0x61], digest(Array(hash.dropLast())))),
        ("a digest of 65 characters", file([0x61], digest(hash + [0x30]))),
        ("a digest that is no hexadecimal", file([0x61], digest([0x67] + hash.dropFirst()))),
        ("a digest in binary", file([0x61], digest([UInt8](repeating: 7, count: 32)))),
        ("an empty name", file([])),
        ("the name .", file(".")),
        ("the name ..", file("..")),
        ("a name with a slash", file("a/b")),
        ("a slash alone", file("/")),
        ("a name with a NUL", file([0x61, 0, 0x62])),
        ("a directory ..", subdirectory("..")),
        ("a link named ..", link("..")),
        ("a name of 256 bytes", file([UInt8](repeating: 0x61, count: 256))),
        ("an invalid byte in a name", file([0x61, 0xff])),
        ("a surrogate in a name", file([0xed, 0xa0, 0x80])),
        ("an overlong slash", file([0xc0, 0xaf])),
        (
            "the escape of a slash's overlong form as valid text",
            file([0xef, 0x9f, 0x83, 0xef, 0x9e, 0xa9])
        ),
        ("an empty target", link("a", [])),
        ("a target with a NUL", link("a", [0x62, 0])),
        ("a target of 4096 bytes", link("a", [UInt8](repeating: 0x62, count: 4096))),
        ("an invalid byte in a target", link("a", [0xff])),
    ]

    @Test(arguments: foreign)
    func `refuses`(form: String, bytes: [UInt8]) {
        let error = #expect(throws: CASError.self) { try decode(bytes) }
        #expect(error?.code == .dataLoss, "\(form): \(error.map(String.init(describing:)) ?? "")")
    }

    @Test func `refuses more than the limits allow before it reads on`() {
        var limits = Limits.standard
        limits.directoryEntries = 2
        let three = Self.file("a") + Self.file("b") + Self.file("c")
        #expect(throws: CASError.self) { try decode(three, limits) }
        limits = .standard
        limits.directoryBytes = three.count - 1
        let error = #expect(throws: CASError.self) { try decode(three, limits) }
        #expect(error?.code == .resourceExhausted)
        limits.directoryBytes = three.count
        #expect(throws: Never.self) { try decode(three, limits) }
    }

    @Test func `dots and dashes within names are good`() throws {
        for name in ["...", ".a", "a.", "-", " ", "\\", "\n", ".cas"] {
            #expect(try decode(Self.file(name)).files[0].name.bytes == Array(name.utf8))
        }
    }
}
