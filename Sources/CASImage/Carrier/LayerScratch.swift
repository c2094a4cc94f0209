import CASCore
import CASFileSystem
import Synchronization

/// Where layers are unpacked of which parts are wanted that nobody can be asked for.
package struct LayerScratch: Sendable {
    /// What takes files without names.
    let directory: String
    /// Hears in a line what is about to be done there.
    let onNote: @Sendable (String) -> Void
    private let freeBytes: @Sendable (String) throws -> UInt64

    /// A directory, which is made if it is not there.
    package init(
        directory: String,
        freeBytes: @escaping @Sendable (String) throws -> UInt64 = {
            try DiskFileSystem().freeBytes($0)
        }, onNote: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.directory = directory
        self.freeBytes = freeBytes
        self.onNote = onNote
    }

    /// Bytes that may be written there: half of what is free, as the files themselves may have to lie beside them.
    func room() throws -> UInt64 {
        try DiskFileSystem().createDirectory(directory)
        return try freeBytes(directory) / 2
    }
}

/// The unpacked layers of one image, as far as there is room for them.
final class LayerSpools: Sendable {
    private struct State {
        /// Bytes that may still be written; nil before anybody looked.
        var room: UInt64?
        var spools: [Int: LayerSpool] = [:]
    }

    private let scratch: LayerScratch
    private let layers: [CarriedLayer]
    private let sizes: [UInt64]
    private let state = Mutex(State())

    /// For layers with these bytes in their plain archives.
    init(_ scratch: LayerScratch, _ layers: [CarriedLayer], _ sizes: [UInt64]) {
        self.scratch = scratch
        self.layers = layers
        self.sizes = sizes
    }

    /// That of a layer; nil where there is no room for it.
    func spool(_ number: Int) throws -> LayerSpool? {
        try state.withLock { state in
            if let known = state.spools[number] { return known }
            let room = state.room ?? look(for: number)
            state.room = room
            guard sizes[number] <= room else { return nil }
            let spool = LayerSpool(
                layers[number], size: sizes[number],
                file: try ScratchFile.make(in: scratch.directory))
            state.room = room - sizes[number]
            state.spools[number] = spool
            return spool
        }
    }

    /// How much room there is; says so.
    private func look(for number: Int) -> UInt64 {
        let wanted = zip(layers, sizes).filter { !$0.0.isPlain }.reduce(0) { $0 + $1.1 }
        let needed = max(wanted, sizes[number])
        let again = "what has no room is read again for each part of it"
        do {
            let room = try scratch.room()
            scratch.onNote(
                "layers are unpacked in \(scratch.directory) meanwhile: up to "
                    + ByteCount.text(min(needed, room))
                    + (needed > room ? " of \(ByteCount.text(needed)); \(again)" : ""))
            return room
        } catch {
            let why = (error as? CASError)?.message ?? "\(error)"
            scratch.onNote("no layer is unpacked in \(scratch.directory): \(why); \(again)")
            return 0
        }
    }

    /// Gives the files up.
    func close() {
        let all = state.withLock { state in
            defer { state.spools = [:] }
            return state.spools.values.map { $0 }
        }
        for spool in all { spool.close() }
    }
}
