import CASCore
import CASPack
import Testing

@Suite struct ChunkListTests {
    private static let digest = Digest.of(Array("chunk".utf8))

    private func random(_ numbers: inout SeededNumbers) -> ChunkList {
        ChunkList(
            terms: (0..<Int.random(in: 0...20, using: &numbers)).map { _ in
                Bool.random(using: &numbers)
                    ? .chunk(
                        Digest.of(numbers.bytes(3)),
                        length: .random(in: 1...70_000, using: &numbers))
                    : .inline(numbers.bytes(.random(in: 1...300, using: &numbers)))
            })
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func `decodes what it encodes`(seed: UInt64) throws {
        var numbers = SeededNumbers(seed)
        let list = random(&numbers)
        let decoded = try ChunkList(decoding: list.encode(), limits: .standard)
        #expect(decoded == list, "seed \(seed)")
        #expect(decoded.size == UInt64(list.terms.reduce(0) { $0 + $1.length }))
    }

    @Test(arguments: 0..<1000 as Range<UInt64>)
    func `damage is refused or read as a list that agrees with itself`(seed: UInt64) {
        var numbers = SeededNumbers(seed)
        let damaged = Samples.mutate(random(&numbers).encode(), &numbers)
        do {
            let list = try ChunkList(decoding: damaged, limits: .standard)
            #expect(list.size == ChunkList(terms: list.terms).size, "seed \(seed)")
        } catch {
            #expect(error is CASError, "seed \(seed): \(error)")
        }
    }

    @Test func `refuses a size that is not the sum of its terms`() throws {
        var list = ChunkList(terms: [.chunk(Self.digest, length: 5)])
        list.size = 6
        #expect(throws: CASError.self) { try ChunkList(decoding: list.encode(), limits: .standard) }
    }

    @Test func `refuses bytes behind the last term`() throws {
        let bytes = ChunkList(terms: [.chunk(Self.digest, length: 5)]).encode()
        #expect(throws: CASError.self) { try ChunkList(decoding: bytes + [0], limits: .standard) }
    }

    @Test func `refuses a count that its bytes can not hold before it makes room for it`() throws {
        var bytes: [UInt8] = [ChunkList.formatVersion]
        bytes.append(varint: 1)
        bytes.append(varint: 1_999_999)
        let error = #expect(throws: CASError.self) {
            try ChunkList(decoding: bytes, limits: .standard)
        }
        #expect(error?.code == .dataLoss)
    }

    @Test func `keeps to its limits`() throws {
        var limits = Limits()
        limits.chunkListTerms = 2
        limits.chunkListInlineBytes = 4
        limits.recordRawBytes = 100
        func code(_ terms: [ChunkList.Term]) -> CASError.Code? {
            do {
                _ = try ChunkList(decoding: ChunkList(terms: terms).encode(), limits: limits)
                return nil
            } catch { return (error as? CASError)?.code }
        }
        let chunk = ChunkList.Term.chunk(Self.digest, length: 100)
        #expect(code([chunk, .inline([1, 2, 3, 4])]) == nil)
        #expect(code([chunk, chunk, chunk]) == .resourceExhausted)
        #expect(code([.inline([1, 2, 3, 4, 5])]) == .resourceExhausted)
        #expect(code([chunk, .inline([])]) == .resourceExhausted)
        #expect(code([.chunk(Self.digest, length: 101)]) == .resourceExhausted)
        #expect(code([.chunk(Self.digest, length: 0)]) == .resourceExhausted)
    }
}
