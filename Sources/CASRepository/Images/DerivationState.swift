import CASCore
import CASFileSystem
import CASWire
import Synchronization

/// What a layer is once its bytes were made: how it is asked for.
struct LayerSum: Hashable, Sendable {
    let digest: Digest
    let size: UInt64
}

/// Images that are being made, and what is remembered of layers.
///
/// Whoever asks first makes an image; all who ask meanwhile wait for that one.
final class ImageDerivations: Sendable {
    struct Key: Hashable {
        let tree: Digest
        let options: String
    }
    private struct State {
        var making: [Key: SharedResult<DerivedImage>] = [:]
        /// Layers that were hashed by this process, by the key of their parts, the latest last.
        var sums: [Digest: LayerSum] = [:]
        var order: [Digest] = []
        /// Where things stand in layers that were read last, the latest last.
        var layouts: [(key: Digest, layout: LayerLayout)] = []
    }
    private static let rememberedSums = 16_384
    private static let layoutBytes = 64 << 20
    private let state = Mutex(State())

    /// The image of a tree by some options, made by `make` unless somebody else is doing that.
    func image(_ key: Key, _ make: () throws -> DerivedImage) throws -> DerivedImage {
        let (result, isOurs) = state.withLock { state in
            if let result = state.making[key] { return (result, false) }
            let result = SharedResult<DerivedImage>()
            state.making[key] = result
            return (result, true)
        }
        guard isOurs else { return try result.get() }
        let outcome = Result { try make() }
        state.withLock { $0.making[key] = nil }
        result.set(outcome)
        return try outcome.get()
    }

    /// What a layer was hashed to, if this process did so lately.
    func sum(_ key: Digest) -> LayerSum? { state.withLock { $0.sums[key] } }

    /// Remembers what a layer was hashed to: should the image fail, the next attempt goes on there.
    func remember(_ key: Digest, _ sum: LayerSum) {
        state.withLock { state in
            if state.sums.updateValue(sum, forKey: key) == nil { state.order.append(key) }
            guard state.order.count > ImageDerivations.rememberedSums else { return }
            for old in state.order.prefix(state.order.count / 2) { state.sums[old] = nil }
            state.order.removeFirst(state.order.count / 2)
        }
    }

    /// Where everything stands in a layer, found by `make` unless it was read lately.
    func layout(_ key: Digest, _ make: () throws -> LayerLayout) throws -> LayerLayout {
        let known = state.withLock { state -> LayerLayout? in
            guard let index = state.layouts.firstIndex(where: { $0.key == key }) else { return nil }
            let found = state.layouts.remove(at: index)
            state.layouts.append(found)
            return found.layout
        }
        if let known { return known }
        let layout = try make()
        state.withLock { state in
            guard !state.layouts.contains(where: { $0.key == key }) else { return }
            state.layouts.append((key, layout))
            var total = state.layouts.reduce(0) { $0 + $1.layout.byteCount }
            while state.layouts.count > 1, total > ImageDerivations.layoutBytes {
                total -= state.layouts.removeFirst().layout.byteCount
            }
        }
        return layout
    }
}
