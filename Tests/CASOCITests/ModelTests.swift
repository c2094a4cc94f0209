import CASCore
import CASOCI
import Testing

/// Digests, media types, references, ranges and errors.
@Suite struct ModelTests {
    static let digest = OCIDigest.of(Array("sample".utf8))

    @Test func `digests of both algorithms`() throws {
        for algorithm in OCIDigest.Algorithm.allCases {
            let digest = OCIDigest.of([1, 2], algorithm)
            #expect(try OCIDigest(digest.description) == digest)
            #expect(digest.names([1, 2]) && !digest.names([1]))
        }
        #expect(Self.digest.referrersTag == "sha256-" + Self.digest.hexadecimal)
        let long = OCIDigest.of([], .sha512)
        #expect(long.referrersTag == "sha512-" + long.hexadecimal.prefix(64))
    }

    @Test(arguments: [
        "", "sha256", "sha256:", "sha256:baddigeststring", "SHA256:" + digest.hexadecimal,
        "sha256:" + digest.hexadecimal.uppercased(), "sha256:" + digest.hexadecimal + "0",
        "sha512:" + digest.hexadecimal, "+:ab", "a+:ab", "blake3:", "blake3:a/b",
    ])
    func `malformed digests`(text: String) {
        let error = #expect(throws: CASError.self) { try OCIDigest(text) }
        #expect(error?.code == .invalidArgument)
    }

    @Test func `a digest of another algorithm is told from a malformed one`() {
        let error = #expect(throws: CASError.self) { try OCIDigest("blake3:AbC=_-") }
        #expect(error?.code == .unimplemented)
    }

    @Test func `a Content-Type with parameters`() {
        #expect(MediaType.parse(" a/b+json ; charset=utf-8") == "a/b+json")
        for text in ["", "a", "a/", "/b", "a/b/c", "a b/c", "a/b c", "a/\u{e9}"] {
            #expect(MediaType.parse(text) == nil, "\(text)")
        }
    }

    @Test func `references`() throws {
        func parts(_ text: String) throws -> [String?] {
            let image = try ImageReference(text)
            #expect(image.description == text || text.hasPrefix("oci://"))
            #expect(try ImageReference(image.description) == image)
            return [image.host, image.name, image.tag, image.digest?.description]
        }
        #expect(try parts("a") == [nil, "a", nil, nil])
        #expect(try parts("library/python:3.12") == [nil, "library/python", "3.12", nil])
        #expect(try parts("docker.io/a/b:c") == ["docker.io", "a/b", "c", nil])
        #expect(try parts("localhost/a") == ["localhost", "a", nil, nil])
        #expect(try parts("localhost:5000") == [nil, "localhost", "5000", nil])
        #expect(try parts("h:5000/a:b@\(Self.digest)") == ["h:5000", "a", "b", "\(Self.digest)"])
        #expect(try parts("[::1]:5000/a") == ["[::1]:5000", "a", nil, nil])
        #expect(try parts("oci://registry/a") == ["registry", "a", nil, nil])
        #expect(try parts("oci://h.example/a") == ["h.example", "a", nil, nil])
        #expect(try ImageReference("a").selector == "latest")
        #expect(try ImageReference("a:b@\(Self.digest)").selector == "\(Self.digest)")
        let long = "a:" + String(repeating: "t", count: 129)
        for text in [
            "", "A", "a:", "a@", "a@b", "h.x/", "oci://a", "oci:///a", "h.x:/a", "h.x:99999/a",
            "[x]/a", "h_.x/a", long, "a//b", "h .x/a", "cas://h/a", "./a", "sha256:abc",
        ] {
            #expect(throws: CASError.self, "\(text)") { try ImageReference(text) }
        }
    }

    @Test func `ranges of bytes`() {
        func ranges(_ text: String, _ size: UInt64 = 5_000) -> ByteRanges {
            ByteRanges(text, size: size)
        }
        #expect(ranges("bytes=500-1499") == .ranges([500..<1500]))
        #expect(ranges("bytes=500-") == .ranges([500..<5000]))
        #expect(ranges("bytes=-500") == .ranges([4500..<5000]))
        #expect(ranges("bytes=2000-5000") == .ranges([2000..<5000]))
        #expect(ranges("bytes=-9000") == .ranges([0..<5000]))
        #expect(ranges("Bytes= 0-0 ,, 9-9, -1") == .ranges([0..<1, 9..<10, 4999..<5000]))
        #expect(ranges("bytes=7-8,1-2,6000-") == .ranges([7..<9, 1..<3]))
        #expect(ranges("bytes=0-99999999999999999999999") == .ranges([0..<5000]))
        for text in ["bytes=500-0", "bytes=5000-10000", "bytes=-0", "bytes=0-1,3-2"] {
            #expect(ranges(text) == .unsatisfiable, "\(text)")
        }
        #expect(ranges("bytes=0-", 0) == .unsatisfiable && ranges("bytes=-5", 0) == .unsatisfiable)
        for text in [
            "", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-", "bytes=1", "bytes=1-2-3",
            "lines=1-2", "bytes 1-2", "bytes=+1-2", "bytes=1 -2", "bytes=0-99999999999999999999x",
        ] {
            #expect(ranges(text) == .malformed, "\(text)")
        }
        let many = (0..<1_024).map { "\($0 * 2)-\($0 * 2)" }.joined(separator: ",")
        guard case .ranges(let all) = ranges("bytes=" + many) else {
            Issue.record("1,024 ranges are refused")
            return
        }
        #expect(all.count == 1_024)
        #expect(ranges("bytes=" + many + ",4000-4001") == .tooMany)
        #expect(ranges("bytes=0-,0-,0-") == .tooMany)
        #expect(ranges("bytes=0-,0-") == .ranges([0..<5000, 0..<5000]))
    }

    @Test func `where the bytes of an upload stand`() {
        #expect(ContentRange("0-9") == ContentRange(0..<10))
        #expect(ContentRange("bytes 5-9/*") == ContentRange(5..<10))
        #expect(ContentRange("bytes 5-9/10") == ContentRange(5..<10, size: 10))
        #expect(ContentRange("bytes=5-9") == ContentRange(5..<10))
        for text in [
            "", "5", "9-5", "-5", "5-", "bytes", "bytes5-9", "5-9/9", "5-9/x", "a-b", "0--1",
            "0-18446744073709551615", "+0-1",
        ] {
            #expect(ContentRange(text) == nil, "\(text)")
        }
        #expect(ContentRange.received(0) == "0-0" && ContentRange.received(7) == "0-6")
        #expect(ContentRange.received("0-6") == 7 && ContentRange.received("1-6") == nil)
        #expect(ContentRange(3..<5, size: 9).description == "bytes 3-4/9")
    }

    @Test func `an answer with several parts is as long as it says`() {
        let parts = MultipartRanges(
            [0..<10, 995..<1000], size: 1000, mediaType: MediaType.octetStream, boundary: "b")
        var body: [UInt8] = []
        for (index, range) in parts.ranges.enumerated() {
            body += parts.header(index) + [UInt8](repeating: 0x78, count: range.count)
        }
        body += parts.trailer
        #expect(UInt64(body.count) == parts.contentLength)
        #expect(
            String(decoding: body, as: UTF8.self)
                == "--b\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-9/1000"
                + "\r\n\r\nxxxxxxxxxx\r\n--b\r\nContent-Type: application/octet-stream\r\n"
                + "Content-Range: bytes 995-999/1000\r\n\r\nxxxxx\r\n--b--\r\n")
    }

    @Test func `the body of a refusal`() {
        let errors = [
            RegistryError(.blobUnknown, "no \"blob\"", detail: .object([.init("a", .null)])),
            RegistryError(.denied, "no"),
        ]
        let body = RegistryError.body(errors)
        #expect(
            String(decoding: body, as: UTF8.self)
                == #"{"errors":[{"code":"BLOB_UNKNOWN","message":"no \"blob\"","detail":{"a":null}},"#
                + #"{"code":"DENIED","message":"no"}]}"#)
        #expect(RegistryError.parse(body) == errors)
        #expect(RegistryError.parse(Array("<html>".utf8)).isEmpty)
    }
}
