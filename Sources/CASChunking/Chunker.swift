/// Cuts bytes at borders that depend on content only, so that an insertion moves few of them.
///
/// FastCDC 2020 (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication
/// Based Storage Systems", IEEE TPDS 31(9)) with normalisation level 2, exactly as the Remote
/// Execution API's FastCDC2020 chunking function names it, so that a build client that cuts a blob
/// itself arrives at our chunks. A value: any number of threads may use one.
package struct Chunker: Sendable {
    /// Masks by the binary logarithm of the chunk size they aim at, 5 to 25 (FastCDC 2020).
    private static let masks: [UInt64] = [
        0, 0, 0, 0, 0, 0x180_4110, 0x180_3110, 0x1803_5100, 0x18_0003_5300, 0x190_0035_3000,
        0x5900_0353_0000, 0xd900_0353_0000, 0xd901_0353_0000, 0xd903_0353_0000, 0xd903_1353_0000,
        0xd90f_0353_0000, 0xd903_0353_7000, 0xd907_0353_7000, 0xd907_0753_7000, 0xd917_0753_7000,
        0xd917_4753_7000, 0xd917_6753_7000, 0xd937_6753_7000, 0xd937_7753_7000, 0xd937_7757_7000,
        0xdb37_7757_7000,
    ]

    /// The sizes it cuts to.
    package let parameters: ChunkerParameters
    private let gear: [UInt64]
    private let gearShifted: [UInt64]
    private let smallMask: UInt64
    private let largeMask: UInt64

    /// A chunker for a store's parameters.
    package init(_ parameters: ChunkerParameters) {
        self.parameters = parameters
        let seed = UInt64(parameters.seed)
        gear = GearTable.words.map { $0 ^ seed }
        gearShifted = gear.map { $0 << 1 }
        let bits = parameters.averageBytes.trailingZeroBitCount
        smallMask = Chunker.masks[bits + 2]
        largeMask = Chunker.masks[bits - 2]
    }

    /// The length of the first chunk of `bytes`.
    ///
    /// Give at least `maximumBytes`, or all that is left of the blob; 0 for no bytes.
    package func nextCut(_ bytes: UnsafeRawBufferPointer) -> Int {
        let minimum = parameters.minimumBytes
        guard bytes.count > minimum, let base = bytes.baseAddress else { return bytes.count }
        let end = min(bytes.count, parameters.maximumBytes)
        let centre = min(parameters.averageBytes, end)
        return gear.withUnsafeBufferPointer { gear in
            gearShifted.withUnsafeBufferPointer { shifted in
                let tables = (gear, shifted)
                var hash: UInt64 = 0
                if let cut = Chunker.scan(
                    base, from: minimum / 2, to: centre / 2, mask: smallMask, tables, &hash)
                {
                    return cut
                }
                return Chunker.scan(
                    base, from: centre / 2, to: end / 2, mask: largeMask, tables, &hash) ?? end
            }
        }
    }

    /// Two bytes a step, from pair `start` to pair `end`; the byte that matches starts the next chunk.
    @inline(__always)
    private static func scan(
        _ base: UnsafeRawPointer, from start: Int, to end: Int, mask: UInt64,
        _ tables: (gear: UnsafeBufferPointer<UInt64>, shifted: UnsafeBufferPointer<UInt64>),
        _ running: inout UInt64
    ) -> Int? {
        guard let gear = tables.gear.baseAddress, let shifted = tables.shifted.baseAddress else {
            return nil
        }
        let shiftedMask = mask << 1
        var hash = running
        var pair = start
        while pair < end {
            let position = pair &* 2
            let two = base.loadUnaligned(fromByteOffset: position, as: UInt16.self).littleEndian
            hash = (hash &<< 2) &+ shifted[Int(two & 0xff)]
            if hash & shiftedMask == 0 { return position }
            hash = hash &+ gear[Int(two >> 8)]
            if hash & mask == 0 { return position &+ 1 }
            pair &+= 1
        }
        running = hash
        return nil
    }
}
