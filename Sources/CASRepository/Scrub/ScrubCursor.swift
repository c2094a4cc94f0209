import CASCore

/// How far the background scrub is, kept in the catalog so that a pass goes on after a restart.
struct ScrubCursor: Hashable {
    private static let formatVersion: UInt8 = 1

    /// When the pass began.
    var started: Timestamp
    /// The pack to go on with; nil once the pass has ended.
    var nextPack: Int64?
    /// What the pass found so far.
    var findings: UInt64 = 0

    /// A pass that begins.
    init(started: Timestamp) {
        self.started = started
        nextPack = 0
    }

    /// The cursor as a setting.
    func encode() -> [UInt8] {
        var output: [UInt8] = [ScrubCursor.formatVersion]
        output.append(littleEndian: started.seconds)
        output.append(littleEndian: nextPack ?? -1)
        output.append(littleEndian: findings)
        return output
    }

    /// Reads a setting; nil for one that this program does not know, after which a pass begins anew.
    init?(decoding bytes: [UInt8]) throws {
        guard bytes.first == ScrubCursor.formatVersion else { return nil }
        let numbers = try bytes.withUnsafeBytes { buffer in
            var reader = ByteReader(buffer)
            _ = try reader.uint8()
            return (try reader.uint64(), try reader.uint64(), try reader.uint64())
        }
        started = Timestamp(seconds: Int64(bitPattern: numbers.0))
        let pack = Int64(bitPattern: numbers.1)
        nextPack = pack < 0 ? nil : pack
        findings = numbers.2
    }
}
