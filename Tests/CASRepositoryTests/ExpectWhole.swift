import CASCore
import CASRepository
import CASTestSupport
import Testing

extension SampleTree {
    /// Fetches the tree and compares everything; throws what the store throws.
    func expectWhole(
        in repository: Repository, _ want: String? = nil, shares: Int = 1,
        _ comment: Comment? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        let fetched = try Fetched(repository, want ?? digest.description, shares: shares)
        // Compared apart from `#expect`, which would print both trees.
        let isSame =
            try fetched.snapshot == snapshot && fetched.folder() == folder
            && Set(fetched.messages.keys) == Set(messages.map(\.digest))
            && Set(fetched.files.keys) == Set(files.keys.filter { $0 != .empty })
        #expect(isSame, comment, sourceLocation: location)
    }
}
