import Testing

@testable import CASHTTP

/// What the fuzzers brought up in the query of a request.
@Suite struct QueryTests {
    @Test func `percent signs stand before two hexadecimal digits and nothing else`() {
        let query = Query("a=team%2fx&b=%+f&c=%-f&d=%zz&e=%2&f=&g=%ff")
        #expect(query["a"] == "team/x")
        #expect(query["b"] == "%+f" && query["c"] == "%-f" && query["d"] == "%zz")
        #expect(query["e"] == "%2" && query["g"] == "%ff", "not UTF-8: as it stands")
        #expect(query["f"] == nil)
    }
}
