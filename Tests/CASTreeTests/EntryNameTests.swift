import CASCore
import CASTestSupport
import CASTree
import Testing

/// Names in any bytes inside text fields (ops/decisions/0002-names-in-any-bytes.md).
@Suite struct EntryNameTests {
    /// Bytes that make every kind of sequence likely: valid, cut, overlong, surrogates, escapes.
    private static let telling: [UInt8] = [
        0x01, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9e, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3, 0xdf,
        0xe0, 0xe1, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff,
    ]

    private func check(_ bytes: [UInt8], _ comment: String = "") throws {
        let text = WireText.encode(bytes)
        #expect(String(validating: text, as: UTF8.self) != nil, "\(bytes) \(comment)")
        #expect(try WireText.decode(text) == bytes, "\(bytes) \(comment)")
    }

    @Test(arguments: [UInt64(1), 2, 3, 4])
    func `any bytes become valid UTF-8 and come back`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<(TestForm.isFull ? 200_000 : 4_000) {
            let count = Int.random(in: 0...12, using: &random)
            let isTelling = Bool.random(using: &random)
            let bytes = (0..<count).map { _ in
                isTelling
                    ? Self.telling[Int.random(in: Self.telling.indices, using: &random)]
                    : UInt8.random(in: 0...255, using: &random)
            }
            try check(bytes, "seed \(seed)")
        }
    }

    @Test func `no two byte strings of up to three telling bytes share a text`() throws {
        var seen: [[UInt8]: [UInt8]] = [:]
        var strings: [[UInt8]] = [[]]
        for _ in 0..<3 {
            strings += strings.flatMap { string in Self.telling.map { string + [$0] } }
        }
        for bytes in Set(strings) {
            try check(bytes)
            let other = seen.updateValue(bytes, forKey: WireText.encode(bytes))
            #expect(other == nil, "\(bytes) and \(other ?? [])")
        }
    }

    @Test(arguments: [UInt64(5), 6])
    func `a text that is decoded is the only one of its bytes`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var accepted = 0
        var refused = 0
        let pieces: [[UInt8]] = [
            [0x61], [0xef, 0x9e, 0x80], [0xef, 0x9f, 0xbf], [0xef, 0x9f, 0x83], [0xef, 0x9e, 0xa9],
            [0xef, 0x9f, 0xaf], [0xef, 0x9e, 0x9e], [0xc3, 0xa9], [0xef, 0x9c, 0x80], [0xff],
            [0xef],
        ]
        for _ in 0..<(TestForm.isFull ? 200_000 : 10_000) {
            let text = (0..<Int.random(in: 1...5, using: &random)).flatMap { _ in
                pieces[Int.random(in: pieces.indices, using: &random)]
            }
            guard let bytes = try? WireText.decode(text) else {
                refused += 1
                continue
            }
            accepted += 1
            #expect(WireText.encode(bytes) == text, "seed \(seed): \(text)")
        }
        #expect(accepted > 500 && refused > 500, "both happen: \(accepted), \(refused)")
    }

    @Test func `valid text is written as it is`() throws {
        for text in ["a", "é", "e\u{301}", "漢字", "\u{1f680}", "\u{f6ff}\u{f800}", "\u{f700}"] {
            let name = try EntryName(text)
            #expect(name.wire == Array(text.utf8), "\(text)")
            #expect(try EntryName(wire: name.wire) == name)
        }
    }

    @Test func `the examples of the format page`() throws {
        #expect(try EntryName([0x61, 0xff, 0x62]).wire == [0x61, 0xef, 0x9f, 0xbf, 0x62])
        #expect(try EntryName(wire: [0xef, 0x9e, 0x80]).bytes == [0x80])
        #expect(throws: CASError.self) {
            try EntryName(wire: [0xef, 0x9f, 0x83, 0xef, 0x9e, 0xa9])
        }
        // A code point of the escapes that really stands in a name.
        let real: [UInt8] = [0xef, 0x9e, 0x80]
        #expect(
            try EntryName(real).wire == [0xef, 0x9f, 0xaf, 0xef, 0x9e, 0x9e, 0xef, 0x9e, 0x80])
    }

    @Test func `names of text are not names of Unicode`() throws {
        let composed = try EntryName("\u{e9}")
        let decomposed = try EntryName("e\u{301}")
        #expect("\u{e9}" == "e\u{301}", "as Swift has it")
        #expect(composed != decomposed)
        #expect(decomposed < composed)
    }

    @Test(arguments: [UInt64(7), 8])
    func `names sort as the unsigned bytes of their text`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var names: [EntryName] = []
        for _ in 0..<300 {
            let bytes = random.bytes(Int.random(in: 1...6, using: &random)).map {
                $0 == 0 || $0 == 0x2f ? 0xfe : $0
            }
            guard bytes != [0x2e], bytes != [0x2e, 0x2e] else { continue }
            names.append(try EntryName(bytes))
        }
        let sorted = names.sorted()
        for (left, right) in zip(sorted, sorted.dropFirst()) {
            #expect(
                left.wire == right.wire || left.wire.lexicographicallyPrecedes(right.wire),
                "seed \(seed): \(left.wire), \(right.wire)")
            #expect(ByteOrder.precedes(left.wire, right.wire) == (left != right))
        }
    }

    @Test func `forbidden names of a file system are an invalid argument`() {
        for bytes: [UInt8] in [
            [], [0x2e], [0x2e, 0x2e], [0x61, 0x2f], [0], [UInt8](repeating: 0x61, count: 256),
        ] {
            let error = #expect(throws: CASError.self) { try EntryName(bytes) }
            #expect(error?.code == .invalidArgument, "\(bytes)")
        }
        #expect(throws: Never.self) { try EntryName([UInt8](repeating: 0xff, count: 255)) }
    }

    @Test func `names are printed without what would fool a terminal`() {
        #expect(PathText.printable(Array("a/é".utf8)) == "a/é")
        #expect(PathText.printable([0x61, 0x1b, 0x5b]) == "a\\x1b[")
        #expect(PathText.printable([0x61, 0xff]) == "a\\xff")
        #expect(PathText.printable(Array("a\u{202e}b".utf8)) == "a\\xe2\\x80\\xaeb")
        #expect(PathText.printable([0x5c]) == "\\x5c")
    }
}
