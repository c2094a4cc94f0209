import CASCore

/// What a simulation knows of the image options that refs have.
struct OptionModel {
    private struct Change {
        enum State {
            /// Nobody knows yet, or nobody ever will.
            case open
            case done
            /// Answered with no.
            case refused
        }
        let text: String
        let begun: Int
        var ended = Int.max
        var state = State.open
    }
    /// A change that was begun.
    struct ChangeID {
        fileprivate let ref: RefName
        fileprivate let index: Int
    }
    private var changes: [RefName: [Change]] = [:]
    private var ticks = 0
    /// Bases that were there when refs began to name them.
    private(set) var bases: [RefName: ImageModel.LinkKey] = [:]

    /// Takes note that somebody asks for options, or for the end of a ref with them.
    mutating func begin(_ ref: RefName, _ text: String) -> ChangeID {
        ticks += 1
        bases[ref] = nil
        changes[ref, default: []].append(Change(text: text, begun: ticks))
        return ChangeID(ref: ref, index: (changes[ref]?.count ?? 1) - 1)
    }

    /// Takes note of an answer; without one it may have happened.
    mutating func end(_ change: ChangeID, isDone: Bool?, base: ImageModel.LinkKey? = nil) {
        ticks += 1
        changes[change.ref]?[change.index].ended = ticks
        if let isDone {
            changes[change.ref]?[change.index].state = isDone ? .done : .refused
        }
        // Another change may have come between.
        if isDone == true, changes[change.ref]?.count == change.index + 1 {
            bases[change.ref] = base
        }
    }

    /// Forgets a base, as its ref may have been without it.
    mutating func forget(baseOf ref: RefName) { bases[ref] = nil }

    /// Everything that a ref may have, if nobody removed it but who said so.
    func possible(_ ref: RefName) -> Set<String> {
        let all = changes[ref] ?? []
        let done = all.filter { $0.state == .done }
        let left = all.filter { change in
            change.state != .refused
                && !done.contains { isOver(change, by: $0, done) }
        }
        return Set(left.map(\.text) + (done.isEmpty ? [""] : []))
    }

    /// Whether a change can not show any more since another one was acknowledged.
    ///
    /// One that nobody heard of may come to light in a rebuild, behind one that had nothing to change and left no
    /// record: of two different ones the second has.
    private func isOver(_ change: Change, by newer: Change, _ done: [Change]) -> Bool {
        guard newer.begun > change.ended else { return false }
        if change.state == .done { return true }
        return done.contains { between in
            between.begun > change.ended && between.ended < newer.begun
                && between.text != newer.text
        }
    }
}
