import Synchronization

extension SimulatedFileSystem {
    /// Stops the machine now, between two operations.
    package func cutPower() {
        state.withLock { $0.isOff = true }
    }
}
