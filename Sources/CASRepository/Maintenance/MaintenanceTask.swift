package import CASWire

/// Long work on a store in bounded steps, so that pushes and fetches go on beside it.
///
/// One thread at a time.
package protocol MaintenanceTask: AnyObject, Sendable {
    /// Does a bounded piece of work, about 50 ms or 8 MiB; false once all is done.
    ///
    /// After an error it is not called again.
    func step() throws -> Bool
    /// How far it is.
    var progress: MaintenanceProgress { get }
}

/// How far long work is, and what it found.
package struct MaintenanceProgress: Sendable {
    /// What it is doing now, in a few words.
    package var phase = ""
    /// Bytes that were read or written in the background sense: what a bounded rate counts.
    package var movedBytes: UInt64 = 0
    /// Numbers so far, in the order to show them.
    package var figures: [MaintenanceState.Figure] = []
    /// What was found so far.
    package var findings: [MaintenanceState.Finding] = []

    /// Nothing yet.
    package init() {}

    /// Adds to a number, which begins at zero.
    package mutating func add(_ name: String, _ count: UInt64 = 1) {
        if let index = figures.firstIndex(where: { $0.name == name }) {
            figures[index].value += count
        } else {
            figures.append(MaintenanceState.Figure(name, count))
        }
    }

    /// Sets a number back to zero.
    package mutating func reset(_ name: String) {
        for index in figures.indices where figures[index].name == name { figures[index].value = 0 }
    }

    /// The number of a name, zero if nothing was added to it.
    package subscript(_ name: String) -> UInt64 {
        figures.first { $0.name == name }?.value ?? 0
    }
}
