import Synchronization

extension SimulatedFileSystem {
    /// All files and what is in them.
    package var contents: [(path: String, bytes: [UInt8])] {
        state.withLock { state in state.names.map { ($0.key, $0.value.bytes) } }
    }

    /// Stops the machine now, between two operations.
    package func cutPower() {
        state.withLock { $0.isOff = true }
    }
}
