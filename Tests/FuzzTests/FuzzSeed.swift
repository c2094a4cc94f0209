import Glibc

/// Where the inputs of this run begin: another place in every run, so that they find more over time.
enum FuzzSeed {
    static let value: UInt64 = {
        if let text = getenv("CAS_FUZZ_SEED").flatMap({ UInt64(String(cString: $0)) }) {
            return text
        }
        return UInt64.random(in: 1...999_999_999)
    }()

    /// Written at once, so that it is there when the next line is a crash.
    static func announce(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(2, bytes, bytes.count)
    }
}
