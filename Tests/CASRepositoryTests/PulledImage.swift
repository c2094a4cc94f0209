import CASCore
import CASFileSystem
import CASOCI
import CASTestSupport
import CASTree
import CASWire
import Glibc
import Testing

@testable import CASRepository

/// An image as a client gets it from a store: manifest and configuration decoded, layers whole.
struct PulledImage {
    let digest: Digest
    let manifest: ImageManifest
    let bytes: [UInt8]
    let config: [UInt8]
    let layers: [[UInt8]]

    /// Pulls the image that a ref's snapshot is, and checks every digest and size on the way.
    init(_ repository: Repository, _ ref: String) throws {
        let entry = try #require(try repository.ref(try RefName(ref), domain: .standard))
        let digest = try repository.derivedManifest(entry, domain: .standard)
        try self.init(repository, digest: try #require(digest))
    }

    init(_ repository: Repository, digest: Digest) throws {
        self.digest = digest
        bytes = try PulledImage.blob(repository, digest)
        manifest = try ImageManifest(decoding: bytes)
        let descriptors = [manifest.config] + manifest.layers
        let blobs = try descriptors.map { descriptor -> [UInt8] in
            guard case .sha256(let digest) = descriptor.digest else { return [] }
            let bytes = try PulledImage.blob(repository, digest)
            #expect(UInt64(bytes.count) == descriptor.size)
            return bytes
        }
        config = blobs[0]
        let document = try JSON(decoding: config)
        #expect(document["rootfs"]?["diff_ids"]?.texts == manifest.layers.map(\.digest.description))
        layers = Array(blobs.dropFirst())
    }

    /// The whole of a blob, checked.
    static func blob(_ repository: Repository, _ digest: Digest) throws -> [UInt8] {
        let reader = try #require(try repository.blobReader(digest, domain: .standard))
        let bytes = try reader.bytes(0..<reader.size)
        guard Digest.of(bytes) == digest else {
            throw CASError(.dataLoss, "a blob is not what its digest says", digest: digest)
        }
        return bytes
    }

    /// Digests of the layers.
    var layerDigests: [String] { manifest.layers.map(\.digest.description) }

    /// Has GNU tar unpack all layers in order, as root sees them.
    func unpack(_ body: (DirectoryOnDisk) throws -> Void) throws {
        let directory = try TemporaryDirectory()
        let root = "\(directory.path)/root"
        try DiskFileSystem().createDirectory(root)
        for (index, layer) in layers.enumerated() {
            let archive = "\(directory.path)/\(index).tar"
            try DiskFileSystem().replace(archive, layer)
            let child = try ChildProcess(
                "tar", ["-x", "-p", "--same-owner", "-f", archive, "-C", root],
                environment: ["PATH": "/usr/bin:/bin"], directory: "/", output: "/dev/null",
                errors: "\(directory.path)/errors")
            let outcome = child.wait()
            let errors = try DiskFileSystem().read(
                "\(directory.path)/errors", maximumBytes: 1 << 20)
            #expect(
                outcome.status == 0 && errors ?? [] == [],
                "\(String(decoding: errors ?? [], as: UTF8.self))")
        }
        try body(DirectoryOnDisk(path: root))
    }
}

extension OCIBlobReader {
    /// Some of its bytes.
    func bytes(_ range: Range<UInt64>) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try read(range) { bytes.append(contentsOf: $0) }
        return bytes
    }
}

/// What an unpacked image is.
struct DirectoryOnDisk {
    let path: String

    /// Content, links and execute bits; times are those that the layers say, which nobody chose.
    func folder() throws -> SampleFolder {
        var folder = SampleFolder()
        for name in try DiskFileSystem().list(path) {
            let below = "\(path)/\(name)"
            var status = stat()
            guard lstat(below, &status) == 0 else {
                throw CASError(.internalError, "cannot look", path: below)
            }
            switch status.st_mode & S_IFMT {
            case S_IFLNK: folder.symlinks[name] = try DirectoryOnDisk.target(below)
            case S_IFDIR: folder.folders[name] = try DirectoryOnDisk(path: below).folder()
            default:
                #expect([0o755, 0o644].contains(status.st_mode & 0o7777))
                folder.files[name] = SampleFolder.File(
                    content: try DiskFileSystem().read(below, maximumBytes: 1 << 30) ?? [],
                    isExecutable: status.st_mode & 0o111 != 0)
            }
        }
        return folder
    }

    private static func target(_ path: String) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = buffer.withUnsafeMutableBytes { target in
            target.baseAddress.map { readlink(path, $0, target.count) } ?? -1
        }
        guard count >= 0 else { throw CASError(.internalError, "cannot look", path: path) }
        return Array(buffer.prefix(count))
    }
}

extension SampleFolder {
    /// The same with no time but one.
    var withoutTimes: SampleFolder {
        var folder = SampleFolder()
        folder.symlinks = symlinks
        folder.files = files.mapValues {
            SampleFolder.File(content: $0.content, isExecutable: $0.isExecutable)
        }
        folder.folders = folders.mapValues(\.withoutTimes)
        return folder
    }
}
