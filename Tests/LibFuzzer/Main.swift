import CASCore
import FuzzTargets
import Glibc

/// What libFuzzer calls; `ops/fuzz` builds it with the foundations, and the package leaves it out.
///
/// `CAS_FUZZ_TARGET` names the target. With `CAS_FUZZ_SEEDS=DIRECTORY` its samples are written there
/// and nothing else happens; `CAS_FUZZ_TARGET=list` prints the names.
private let target: FuzzTarget? = {
    let name = getenv("CAS_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    return FuzzTargets.foundations.first { $0.name == name }
}()

/// Called once, before the first input.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
    _ count: UnsafeMutableRawPointer?, _ arguments: UnsafeMutableRawPointer?
) -> CInt {
    guard let target else {
        for target in FuzzTargets.foundations { print(target.name) }
        exit(getenv("CAS_FUZZ_TARGET").map { String(cString: $0) } == "list" ? 0 : 64)
    }
    if let directory = getenv("CAS_FUZZ_SEEDS").map({ String(cString: $0) }) {
        for (index, sample) in target.samples.enumerated() {
            guard let file = fopen("\(directory)/sample-\(index)", "w") else { exit(74) }
            fwrite(sample, 1, sample.count, file)
            fclose(file)
        }
        exit(0)
    }
    return 0
}

/// Called with each input; comes back, or the input is kept as a finding.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let target else { return -1 }
    let bytes = Array(UnsafeBufferPointer(start: data, count: size))
    do {
        // As it came, and behind its checksums.
        _ = try target.accepts(bytes)
        let repaired = target.repair(bytes)
        if repaired != bytes { _ = try target.accepts(repaired) }
    } catch {
        let text = Array("\(target): \(error)\ninput \(Hexadecimal.encode(bytes))\n".utf8)
        _ = write(2, text, text.count)
        abort()
    }
    return 0
}
