import Glibc

/// Which form the tests run in.
package enum TestForm {
    /// Whether CAS_TEST_FULL=1 asks for every case where the short form takes a sample.
    package static let isFull = getenv("CAS_TEST_FULL").map { String(cString: $0) } == "1"
    /// Seconds for which what goes on for long goes on in the long form (`CAS_TEST_SECONDS`, an hour without it).
    package static let fullSeconds =
        getenv("CAS_TEST_SECONDS").flatMap { UInt64(String(cString: $0)) } ?? 3_600
}
