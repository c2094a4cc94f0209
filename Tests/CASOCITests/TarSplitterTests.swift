import CASCore
import CASOCI
import CASTestSupport
import Testing

/// Where files lie in an archive, however it comes.
@Suite struct TarSplitterTests {
    private static let sizes: [UInt64] = [0, 1, 511, 512, 513, 1024, 3_000]

    /// A random archive, and the contents of its files that have some.
    static func archive(
        _ random: inout SeededGenerator
    ) -> (bytes: [UInt8], files: [[UInt8]]) {
        var bytes: [UInt8] = []
        var files: [[UInt8]] = []
        for index in 0..<random.pick(1...8) {
            let name = random.pick([
                "f\(index)", "dir/é-\(index)", String(repeating: "x", count: 120 + index),
                String(repeating: "a/", count: 90) + "\(index)",
            ])
            let kind = random.pick([TarHeader.Kind.file, .file, .file, .directory, .symlink])
            var header = TarHeader(path: Array(name.utf8), kind: kind, mode: 0o644)
            if kind == .symlink { header.target = Array(name.utf8) }
            var content: [UInt8] = []
            if kind == .file {
                header.size = random.pick(sizes)
                content = random.bytes(Int(header.size))
            }
            bytes += header.encode() + content
            bytes += [UInt8](repeating: 0, count: TarHeader.padding(header.size))
            if !content.isEmpty { files.append(content) }
        }
        bytes += [UInt8](repeating: 0, count: 1024 + 512 * random.pick(0...3))
        return (bytes, files)
    }

    @Test(arguments: 0..<10)
    func `buffers and restarts make no difference`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let (archive, files) = Self.archive(&random)
        var inputs = [archive, Array(archive.prefix(random.pick(1...archive.count)))]
        for _ in 0..<6 {
            var broken = archive
            broken[random.pick(0...archive.count - 1)] ^= 1 << UInt8(random.pick(0...7))
            if random.pick(0...2) == 0 { broken += random.bytes(700) }
            inputs.append(broken)
        }
        #expect(try Cuts.of(archive).files == files, "seed \(seed)")
        for (index, input) in inputs.enumerated() {
            let whole = try Cuts.of(input)
            #expect(whole.bytes == input, "seed \(seed), input \(index)")
            for buffers in [[1], [512], [511, 2], (0..<7).map { _ in random.pick(1...900) }] {
                let parts = try Cuts.of(input, buffers: buffers)
                #expect(parts.cuts == whole.cuts, "seed \(seed), input \(index), \(buffers)")
                let restored = try Cuts.of(input, buffers: buffers, restores: true)
                #expect(restored.cuts == whole.cuts, "seed \(seed), input \(index), \(buffers)")
            }
        }
    }

    @Test func `padding and headers come in one piece where they lie in one buffer`() throws {
        let file = TarHeader(path: Array("é".utf8), kind: .file, mode: 0o644, size: 3)
        let entry = file.encode() + [1, 2, 3] + [UInt8](repeating: 0, count: 509)
        let cuts = try Cuts.of(entry + entry + [UInt8](repeating: 0, count: 1024))
        #expect(file.encode().count == 1536)
        // The first header stands alone, and decides whether there is an archive.
        #expect(cuts.calls == 4)
        #expect(cuts.cuts.count == 5 && cuts.files == [[1, 2, 3], [1, 2, 3]])
    }

    @Test func `what is no archive is plain from its first byte`() throws {
        var random = SeededGenerator(seed: 1)
        for count in [0, 1, 511, 512, 513, 5_000] {
            let noise = random.bytes(count)
            for buffers in [[Int.max], [7], [512]] {
                let cuts = try Cuts.of(noise, buffers: buffers)
                #expect(cuts.isPlain && cuts.bytes == noise)
            }
        }
        #expect(try Cuts.of([UInt8](repeating: 0, count: 2_000)).isPlain)
    }

    @Test func `what is odd is plain from there on`() throws {
        let good = TarHeader(path: [0x61], kind: .file, mode: 0, size: 1).encode()
        let start = good + [7] + [UInt8](repeating: 0, count: 511)
        let end = [UInt8](repeating: 0, count: 1024)
        let sparse = TarHeader(path: [0x62], kind: .other(UInt8(ascii: "S")), mode: 0)
        let link = TarHeader(path: [0x62], kind: .hardLink, mode: 0, size: 9, target: [0x61])
        for odd in [sparse.encode(), link.encode(), [UInt8](repeating: 0x41, count: 512)] {
            let cuts = try Cuts.of(start + odd + start + end)
            #expect(cuts.files == [[7]])
            #expect(cuts.cuts.last == .plain(start + end))
        }
        #expect(try Cuts.of(start + end + [0, 0, 9, 9]).cuts.last == .plain([9, 9]))
    }

    @Test func `a truncated file is ended`() throws {
        let header = TarHeader(path: [0x61], kind: .file, mode: 0, size: 100).encode()
        let cuts = try Cuts.of(header + [1, 2])
        #expect(cuts.cuts.last == .file(100, [1, 2], isEnded: true))
    }

    @Test func `sizes beyond all octal digits are read`() throws {
        let huge: UInt64 = 9 << 30
        let header = TarHeader(path: [0x61], kind: .file, mode: 0o644, size: huge).encode()
        #expect(header.count == 1536)
        #expect(try Cuts.of(header + [1]).cuts.last == .file(huge, [1], isEnded: true))
        // The same in base 256, as GNU tar and Go write it.
        var binary = Array(TarHeader(path: [0x61], kind: .file, mode: 0o644).encode())
        binary.replaceSubrange(124..<136, with: [0x80, 0, 0, 0, 0, 0, 0, 2, 0x40, 0, 0, 0])
        binary.replaceSubrange(148..<156, with: [UInt8](repeating: 0x20, count: 8))
        let sum = binary.reduce(0) { $0 + Int($1) }
        let digits = String(sum, radix: 8)
        binary.replaceSubrange(148..<154, with: ("000000" + digits).utf8.suffix(6))
        binary[154] = 0
        #expect(try Cuts.of(binary + [1]).cuts.last == .file(huge, [1], isEnded: true))
    }

    @Test func `a damaged state is refused`() throws {
        var random = SeededGenerator(seed: 3)
        var splitter = TarSplitter()
        var cuts = Cuts()
        try Self.archive(&random).bytes.prefix(700).withUnsafeBytes {
            try splitter.push($0, to: &cuts)
        }
        let state = splitter.state
        #expect(try TarSplitter(state: state).state == state)
        #expect(throws: CASError.self) { try TarSplitter(state: []) }
        #expect(throws: CASError.self) { try TarSplitter(state: state + [0]) }
        #expect(throws: CASError.self) { try TarSplitter(state: [2] + state.dropFirst()) }
        #expect(throws: CASError.self) { try TarSplitter(state: [1, 9] + state.dropFirst(2)) }
    }
}
