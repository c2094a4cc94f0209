import CASChunking
import CASCore
import Testing

/// The input of `shared/vectors/fastcdc2020.txt`: SHA-256 of "cas-cdc-0", "cas-cdc-1", … one after another.
private func syntheticInput(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 32)
    var index = 0
    while bytes.count < count {
        bytes.append(digest: Digest.of(Array("cas-cdc-\(index)".utf8)))
        index += 1
    }
    return Array(bytes.prefix(count))
}

private func lengths(_ bytes: [UInt8], _ parameters: ChunkerParameters) -> [Int] {
    let chunker = Chunker(parameters)
    return bytes.withUnsafeBytes { all in
        var rest = all[...]
        var lengths: [Int] = []
        while !rest.isEmpty {
            let window = UnsafeRawBufferPointer(rebasing: rest.prefix(parameters.maximumBytes))
            let cut = chunker.nextCut(window)
            lengths.append(cut)
            rest = rest.dropFirst(cut)
        }
        return lengths
    }
}

@Suite struct ChunkerTests {
    struct Vector: Sendable, CustomTestStringConvertible {
        let average: Int
        let seed: UInt32
        let count: Int
        let first: [Int]
        let digest: String
        var testDescription: String { "average \(average), seed \(seed)" }
    }

    static let vectors = [
        Vector(
            average: 524_288, seed: 0, count: 15,
            first: [
                469_582, 638_570, 531_528, 600_825, 699_653, 525_175, 601_117, 585_788, 191_061,
            ],
            digest: "b810e1bed17e7f621af6aea8139df043bff3ef5703e37dc8b35e6a762d89d5c6"),
        Vector(
            average: 524_288, seed: 1, count: 17,
            first: [568_671, 326_170, 163_816, 593_688, 142_805, 672_526],
            digest: "d88c6d619cdae363a6c1d66bf459e046b71c34b0f2d117ee4348d18a16ec6921"),
        Vector(
            average: 65_536, seed: 0, count: 119, first: [68_497, 76_210, 52_398, 78_469, 31_673],
            digest: "89b6769bbef189868878de4f75da24eba2fc06c0356fa11403f60e9092ab74d4"),
        Vector(
            average: 16_384, seed: 0, count: 454, first: [20_774, 20_937, 16_853, 20_624, 20_448],
            digest: "12a76a258ca4f05900d054cb5d0efb3dbbdaa5bb69f57c3b1be6d16804b04fe5"),
    ]

    @Test(arguments: vectors)
    func `cuts where other implementations of FastCDC 2020 cut`(vector: Vector) throws {
        let input = syntheticInput(8_388_608)
        #expect(
            Digest.of(input).hexadecimal
                == "a5274ef079e7d347867895879876be1f1a4a1a2a4ae6207234108f550c109f41")
        let parameters = try ChunkerParameters(averageBytes: vector.average, seed: vector.seed)
        let found = lengths(input, parameters)
        #expect(found.count == vector.count)
        #expect(Array(found.prefix(vector.first.count)) == vector.first)
        let joined = found.map(String.init).joined(separator: ",")
        #expect(Digest.of(Array(joined.utf8)).hexadecimal == vector.digest)
    }

    @Test func `cuts constant bytes at the maximum`() throws {
        let parameters = try ChunkerParameters(averageBytes: 524_288)
        #expect(
            lengths([UInt8](repeating: 0, count: 5 << 20), parameters) == [
                2_097_152, 2_097_152, 1_048_576,
            ])
    }

    @Test func `keeps every cut between minimum and maximum`() throws {
        let parameters = try ChunkerParameters(averageBytes: 4096)
        let found = lengths(syntheticInput(1 << 20), parameters)
        #expect(found.dropLast().allSatisfy { $0 >= 1024 && $0 <= 16_384 })
        #expect(found.reduce(0, +) == 1 << 20)
    }

    @Test func `an insertion at the front moves only the first cuts`() throws {
        let parameters = try ChunkerParameters(averageBytes: 4096)
        let input = syntheticInput(1 << 20)
        func ends(_ lengths: [Int], _ offset: Int) -> Set<Int> {
            var end = -offset
            return Set(
                lengths.map {
                    end += $0; return end
                })
        }
        let before = ends(lengths(input, parameters), 0)
        let after = ends(lengths([1, 2, 3] + input, parameters), 3)
        #expect(before.intersection(after).count > before.count * 9 / 10)
    }

    @Test(arguments: [0, 1000, 1023, 3000, 2 << 20])
    func `refuses an average outside REAPI's range`(average: Int) {
        #expect(throws: CASError.self) { try ChunkerParameters(averageBytes: average) }
    }
}
