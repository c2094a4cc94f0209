import CASCore
import CASOCI
import Testing

/// The reader and the writer of JSON documents.
@Suite struct JSONTests {
    private static func read(_ text: String) throws -> JSON {
        try JSON(decoding: Array(text.utf8))
    }

    private static func isRefused(_ text: String) -> Bool {
        do {
            _ = try read(text)
            return false
        } catch {
            return error is CASError
        }
    }

    @Test func `reads every kind of value`() throws {
        let json = try Self.read(
            #" { "a" : [ 1 , -0.5e+3 , true , false , null , "x" ] , "b" : { } , "c":[] } "#)
        #expect(
            json["a"]
                == .list([
                    .number("1"), .number("-0.5e+3"), .boolean(true), .boolean(false), .null,
                    .text("x"),
                ]))
        #expect(json["b"] == .object([]) && json["c"]?.elements == [])
        #expect(json["d"] == nil && json["a"]?["b"] == nil)
    }

    @Test func `reads escapes`() throws {
        let text = try Self.read(#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800x\udc00""#).text
        #expect(text == "\"\\/\u{08}\u{0c}\n\r\té😀\u{fffd}x\u{fffd}")
    }

    @Test(arguments: [
        "", " ", "{", "[1,]", "[1 2]", #"{"a":1,}"#, #"{"a" 1}"#, "{a:1}", "01", "1.", "-", "+1",
        ".5",
        "1e", "tru", "nul", #""\x""#, #""\u12g4""#, "\"\u{01}\"", "\"a", "[1]x", "// x\n1",
        #"{"a":1,"a":2}"#, "NaN", "'a'",
    ])
    func `refuses`(text: String) {
        #expect(Self.isRefused(text))
    }

    @Test func `refuses what is not UTF-8, too deep or too large`() {
        #expect(throws: CASError.self) { try JSON(decoding: [0x22, 0xff, 0x22]) }
        #expect(throws: CASError.self) { try JSON(decoding: [0x22, 0xed, 0xa0, 0x80, 0x22]) }
        let depth = JSON.maximumDepth
        let brackets = { String(repeating: "[", count: $0) + String(repeating: "]", count: $0) }
        #expect(!Self.isRefused(brackets(depth + 1)))
        #expect(Self.isRefused(brackets(depth + 2)))
        #expect(Self.isRefused(String(repeating: "[", count: 1_000_000)))
        #expect(throws: CASError.self) { try JSON(decoding: Array("[1,2]".utf8), limit: 4) }
    }

    @Test func `refuses more values than memory is meant for`() throws {
        // The list is one of them.
        let most = JSON.maximumValues - 1
        let list = { (count: Int) in "[" + String(repeating: "0,", count: count - 1) + "0]" }
        #expect(try Self.read(list(most)).elements?.count == most)
        #expect(Self.isRefused(list(most + 1)))
        // Short names: the text has to stay below the limit of its bytes.
        let object = (0..<most).map { "\"\(String($0, radix: 36))\":0" }.joined(separator: ",")
        let isRefused = (Self.isRefused("{\(object)}"), Self.isRefused("{\(object),\"more\":0}"))
        #expect(isRefused == (false, true))
    }

    @Test func `writes as Go does without HTML escapes`() {
        let value = JSON.object([
            JSON.Member("b", .text("<a>&\"\\\n\u{07}\u{08}\u{2028}é\u{7f}")),
            JSON.Member("a", .list([.integer(3), .null, .boolean(true)])),
            JSON.Member("m", .map(["z": "1", "a": "2", "é": "3", "B": "4"])),
        ])
        #expect(
            String(decoding: value.encode(), as: UTF8.self)
                == #"{"b":"<a>&\"\\\n\u0007\b\u2028é\#u{7f}","a":[3,null,true],"#
                + #""m":{"B":"4","a":"2","z":"1","é":"3"}}"#)
    }

    @Test func `a large document with escapes takes no quadratic time`() throws {
        let text = "\"" + String(repeating: "\\n", count: 1 << 20) + "\""
        #expect(try Self.read(text).text?.utf8.count == 1 << 20)
    }
}
