import Glibc

/// Which form the tests run in.
package enum TestForm {
    /// Whether CAS_TEST_FULL=1 asks for every case where the short form takes a sample.
    package static let isFull = getenv("CAS_TEST_FULL").map { String(cString: $0) } == "1"
}
