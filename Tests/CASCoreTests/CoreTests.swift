import CASCore
import Testing

@Suite struct DigestTests {
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func `agrees with the vectors of FIPS 180-4`(text: String, hexadecimal: String) {
        let digest = Digest.of(Array(text.utf8))
        #expect(digest.hexadecimal == hexadecimal)
        #expect(Digest(hexadecimal: hexadecimal) == digest)
        #expect(Digest(bytes: digest.bytes) == digest)
        #expect(digest.description == "sha256:" + hexadecimal)
    }

    @Test func `hashes pieces as it hashes the whole, and starts anew`() {
        var hasher = DigestHasher()
        for _ in 0..<2 {
            for piece in ["a", "", "bc"] {
                Array(piece.utf8).withUnsafeBytes { hasher.update($0) }
            }
            #expect(hasher.finish() == Digest.of(Array("abc".utf8)))
        }
    }

    @Test(arguments: [
        "", "abc", String(repeating: "0", count: 63), String(repeating: "G", count: 64),
        String(repeating: "A", count: 64), String(repeating: "0", count: 65),
    ])
    func `refuses what is not 64 lower-case hexadecimal characters`(text: String) {
        #expect(Digest(hexadecimal: text) == nil)
    }

    @Test func `orders as its bytes do`() {
        let digests = (0..<200).map { Digest.of(Array("\($0)".utf8)) }
        let byBytes = digests.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        #expect(digests.sorted() == byBytes)
    }
}

@Suite struct ReferenceTests {
    private static let digest =
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    @Test(arguments: [
        ("team/project", nil as String?, "team/project:latest"),
        ("team/project:v1.2", nil, "team/project:v1.2"),
        ("localhost/team:x", "localhost", "team:x"),
        ("cas.example.org/team/project:x", "cas.example.org", "team/project:x"),
        ("host:8700/a", "host:8700", "a:latest"),
        ("cas://pods/a:b", "pods", "a:b"),
        ("team/project@" + digest, nil, "team/project@" + digest),
        (digest, nil, digest),
        ("host.org/" + digest, "host.org", digest),
    ])
    func `reads every form`(text: String, host: String?, path: String) throws {
        let reference = try Reference(text)
        #expect(reference.host == host)
        #expect(reference.path == path)
        #expect(try Reference(reference.description) == reference)
    }

    @Test(arguments: [
        "", "Team", "team//x", "team/", "/team", "team:", "team:-x", "a@sha256:12", "sha256:zz",
        "cas://a",
        "a:b:c", "..", "a__ b", "a___b", "team/.hidden", "team_",
        String(repeating: "a", count: 256),
        "t:" + String(repeating: "a", count: 129), "Bad@" + digest, "sha256", "cas:///a/b",
    ])
    func `refuses what breaks the grammar, as an invalid argument`(text: String) {
        let error = #expect(throws: CASError.self) { try Reference(text) }
        #expect(error?.code == .invalidArgument)
    }
}

@Suite struct ByteTests {
    @Test(arguments: [0, 1, 127, 128, 300, 1 << 32, UInt64.max])
    func `a base-128 integer comes back`(value: UInt64) throws {
        var bytes: [UInt8] = []
        bytes.append(varint: value)
        try bytes.withUnsafeBytes {
            var reader = ByteReader($0)
            let read = try reader.varint()
            #expect(read == value)
            #expect(reader.isAtEnd)
        }
    }

    @Test(
        arguments: [
            [0x80], [0xff, 0xff], [UInt8](repeating: 0xff, count: 11),
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ] as [[UInt8]])
    func `a base-128 integer that does not end or is too long is refused`(bytes: [UInt8]) {
        bytes.withUnsafeBytes { raw in
            _ = #expect(throws: CASError.self) {
                var reader = ByteReader(raw)
                _ = try reader.varint()
            }
        }
    }

    @Test(
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
            (10 << 10, "10 KiB"),
            (5 << 30, "5.0 GiB"), (UInt64.max, "16383 PiB"),
        ] as [(UInt64, String)])
    func `a count of bytes reads well`(count: UInt64, text: String) {
        #expect(ByteCount.text(count) == text)
    }

    @Test(
        arguments: [
            ("123", 123), ("64K", 65_536), ("64KiB", 65_536), ("2G", 2 << 30), ("1.5GiB", 3 << 29),
        ] as [(String, UInt64)])
    func `a count of bytes is parsed`(text: String, count: UInt64) {
        #expect(ByteCount.parse(text) == count)
    }

    @Test(arguments: [
        "", "x", "1Q", "-1", "99999999999T", "+1", "+1.5", "1e3", "0x1p3", ".5", "1.2.3", "nan",
    ])
    func `what is no count of bytes is refused`(text: String) {
        #expect(ByteCount.parse(text) == nil)
    }

    @Test func `CRC-32C agrees with RFC 3720`() {
        #expect(
            [UInt8](repeating: 0, count: 32).withUnsafeBytes { Checksum.crc32c($0) } == 0x8a91_36aa)
        #expect(
            [UInt8](repeating: 0xff, count: 32).withUnsafeBytes { Checksum.crc32c($0) }
                == 0x62a8_ab43)
        #expect((0..<32).map { UInt8($0) }.withUnsafeBytes { Checksum.crc32c($0) } == 0x46dd_794e)
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (951_827_696, "2000-02-29T12:34:56Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (1_795_529_000, "2026-11-24T14:03:20Z"),
        ] as [(Int64, String)])
    func `a time is written as ISO 8601`(seconds: Int64, text: String) {
        #expect(Timestamp(seconds: seconds).iso8601 == text)
    }

    @Test func `an identifier survives its text`() {
        let identifier = Identifier.random()
        #expect(Identifier(hexadecimal: identifier.description) == identifier)
        #expect(Identifier(bytes: identifier.bytes) == identifier)
        #expect(Identifier(hexadecimal: "12") == nil)
    }
}

@Suite struct ReusableBufferTests {
    @Test func `grows, drops from the front and keeps the rest`() {
        let buffer = ReusableBuffer(capacity: 8)
        for round in 0..<100 { buffer.append([UInt8](repeating: UInt8(round), count: 10)) }
        #expect(buffer.count == 1000)
        buffer.removeFirst(995)
        #expect(Array(buffer.bytes) == [99, 99, 99, 99, 99])
        buffer.removeAll()
        #expect(buffer.bytes.isEmpty)
    }
}
