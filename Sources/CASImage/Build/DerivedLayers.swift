import CASClient
import CASCore
import CASOCI
import CASWire

extension WorkspaceLayers {
    /// Where the image of a snapshot is to go, as seen from the store of the snapshot.
    package enum Place: Sendable {
        /// Another store or registry.
        case elsewhere
        /// A repository of images of that store; in a dry run it gets nothing.
        case here(name: String, isDryRun: Bool)

        /// What the store makes of a snapshot; nil where it is none of its business or it does not know how to.
        func layers(
            _ path: String, _ connection: any StoreConnection, _ options: LayerOptions,
            _ maximumLayers: Int
        ) throws -> LayersResponse? {
            guard case .here(let name, let isDryRun) = self,
                let text = Place.text(options, maximumLayers)
            else { return nil }
            do {
                return try connection.layers(
                    LayersRequest(want: path, name: isDryRun ? "" : name, imageOptions: text))
            } catch let error as CASError where error.code == .unimplemented {
                // An older server; it gets them as any registry does.
                return nil
            }
        }

        /// Options as refs have them; nil for a directory that they can not say.
        static func text(_ options: LayerOptions, _ maximumLayers: Int) -> String? {
            guard let prefix = String(validating: options.prefix, as: UTF8.self),
                prefix.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f })
            else { return nil }
            var lines = [
                "owner=\(options.userID):\(options.groupID)", "prefix=/\(prefix)",
            ]
            if maximumLayers < LayerPlan.maximumParts {
                lines.insert("layers=\(max(1, maximumLayers))", at: 0)
            }
            return lines.joined(separator: "\n")
        }
    }
}

/// What is said of a layer, the same however it came about.
enum LayerTitle {
    static func text(_ part: String, of path: String) -> String { "\(part) of \(path)" }
}

/// A layer that the target's own store makes of a part of a tree.
struct DerivedTreeLayer: LayerProducer {
    let title: String
    let isDerived = true
    private let layer: SnapshotLayer

    init(_ layer: SnapshotLayer, of path: String) {
        self.layer = layer
        title = LayerTitle.text(layer.title, of: path)
    }

    func describe() -> LayerDescription {
        LayerDescription(diffID: layer.digest, digest: layer.digest, size: layer.size)
    }

    func write(_ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        throw CASError(
            .internalError, "a layer that its store makes is not sent", digest: layer.digest)
    }

    func close() {}
}
