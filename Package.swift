// swift-tools-version: 6.2
import PackageDescription

/// Settings of every target of ours: warnings are errors, existentials and imports are spelled out.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// One library target of ours in `Sources/`.
func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, exclude: [], swiftSettings: settings)
}

/// One test target of ours in `Tests/`, named after what it tests.
func tests(
    _ name: String, _ dependencies: [Target.Dependency], data: [String] = []
) -> Target {
    .testTarget(
        name: name, dependencies: ["CASTestSupport"] + dependencies,
        exclude: data, swiftSettings: settings)
}

let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let nioHTTPTypes: Target.Dependency = .product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")

let package = Package(
    name: "cas",
    platforms: [.macOS("26.0")],
    products: [.executable(name: "cas", targets: ["cas"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", exact: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", exact: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
        .package(url: "https://github.com/vapor/jwt-kit", exact: "5.7.1"),
    ],
    targets: [
        // System libraries and C.
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .target(name: "CShims"),

        // Foundations: values and bytes, no IO, no Foundation.
        module("CASCore", ["CCrypto", "CShims"]),
        module("CASChunking", ["CASCore"]),
        module("CASCompression", ["CASCore", "CZstd", "CZlib"]),
        module("CASTree", ["CASCore"]),
        module("CASPack", ["CASCore"]),
        module("CASOCI", ["CASCore", "CASTree"]),
        module("CASWire", ["CASCore", "CASTree", "CASPack"]),

        // Engine.
        module("CASFileSystem", ["CASCore", "CShims"]),
        module("CASStorage", ["CASCore", "CASFileSystem"]),
        module(
            "CASCatalog",
            [
                "CASCore", "CASTree", "CASPack", "CASWire", "CASFileSystem",
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        module(
            "CASRepository",
            [
                "CASCore", "CASChunking", "CASCompression", "CASTree", "CASPack", "CASOCI",
                "CASWire",
                "CASFileSystem", "CASStorage", "CASCatalog",
            ]),
        module(
            "CASWorkspace",
            [
                "CASCore", "CASChunking", "CASCompression", "CASTree", "CASPack", "CASWire",
                "CASFileSystem",
            ]),

        // Doors.
        module(
            "CASHTTP",
            [
                "CASCore", "CASTree", "CASPack", "CASWire", "CASStorage", "CASRepository",
                hummingbird, httpTypes, log, nioCore, nioPosix,
            ]),

        module(
            "CASRegistry",
            [
                "CASCore", "CASWire", "CASOCI", "CASRepository", "CASHTTP", hummingbird, httpTypes,
                log, nioCore,
            ]),

        // Client side.
        module(
            "CASClient",
            [
                "CASCore", "CASChunking", "CASCompression", "CASTree", "CASPack", "CASWire",
                "CASFileSystem", "CASRepository", "CASWorkspace",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                nioCore, nioPosix, nioSSL, .product(name: "NIOHTTP1", package: "swift-nio"),
            ]),

        module(
            "CASImage",
            [
                "CASCore", "CASCompression", "CASTree", "CASPack", "CASOCI", "CASWire",
                "CASFileSystem", "CASRepository", "CASWorkspace", "CASClient",
            ]),

        module("CASKubernetes", ["CASCore", "Yams"]),

        // Composition.
        module(
            "CASServer",
            [
                "CASCore", "CASWire", "CASFileSystem", "CASCatalog", "CASRepository", "CASHTTP",
                "CASRegistry", "CASClient",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "JWTKit", package: "jwt-kit"),
                hummingbird, .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"), httpTypes,
                log, nioCore, nioPosix, nioSSL, nioHTTPTypes,
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ]),
        .executableTarget(
            name: "cas",
            dependencies: [
                "CASCore", "CASTree", "CASPack", "CASWire", "CASFileSystem", "CASCatalog",
                "CASRepository", "CASWorkspace", "CASClient", "CASOCI", "CASImage", "CASKubernetes",
                "CASServer", log, "Yams",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),

        // Measurements behind decision records.
        .executableTarget(
            name: "ChunkStudy", dependencies: ["CASCore", "CASChunking", "CASCompression"],
            path: "Benchmarks/ChunkStudy", swiftSettings: settings),

        // Tests.
        .target(
            name: "CASTestSupport",
            dependencies: [
                "CASCore", "CASChunking", "CASCompression", "CASTree", "CASPack", "CASWire",
                "CASFileSystem", "CASStorage", "CASCatalog", "CASRepository",
            ],
            path: "Tests/CASTestSupport", swiftSettings: settings),
        tests("CASCoreTests", ["CASCore"]),
        tests("CASChunkingTests", ["CASCore", "CASChunking"]),
        tests("CASCompressionTests", ["CASCore", "CASCompression"]),
        tests(
            "CASTreeTests", ["CASCore", "CASTree"],
            data: ["directory-golden.py", "directory-golden.txt"]),
        tests("CASPackTests", ["CASCore", "CASPack"]),
        tests("CASOCITests", ["CASCore", "CASTree", "CASOCI"], data: ["layer-golden.py"]),
        tests(
            "CASWireTests", ["CASCore", "CASTree", "CASPack", "CASWire"], data: ["format-1.txt"]),
        tests("CASFileSystemTests", ["CASCore", "CASFileSystem"]),
        tests("CASStorageTests", ["CASCore", "CASFileSystem", "CASStorage"]),
        tests(
            "CASCatalogTests",
            [
                "CASCore", "CASTree", "CASPack", "CASWire", "CASCatalog",
                .product(name: "GRDB", package: "GRDB.swift"),
            ], data: ["catalog-1.sql", "catalog-2.sql", "catalog-3.sql", "catalog-4.sql"]),
        tests(
            "CASRepositoryTests",
            [
                "CASCore", "CASCompression", "CASChunking", "CASTree", "CASPack", "CASOCI",
                "CASWire",
                "CASFileSystem", "CASStorage", "CASCatalog", "CASRepository",
            ], data: ["store-1.txt", "store-1-indexed.txt", "store-2.txt", "store-3.txt"]),
        tests(
            "CASWorkspaceTests",
            [
                "CASCore", "CASCompression", "CASChunking", "CASTree", "CASPack", "CASWire",
                "CASFileSystem", "CASWorkspace",
            ]),
        tests(
            "CASClientTests",
            [
                "CASCore", "CASCompression", "CASTree", "CASPack", "CASWire", "CASFileSystem",
                "CASCatalog", "CASOCI", "CASRepository", "CASWorkspace", "CASClient",
            ], data: ["export-1.txt"]),
        tests(
            "CASServerTests",
            [
                "CASCore", "CASCompression", "CASTree", "CASPack", "CASWire", "CASFileSystem",
                "CASCatalog", "CASRepository", "CASHTTP", "CASServer", "CASClient",
                hummingbird, nioPosix,
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
                .product(name: "JWTKit", package: "jwt-kit"),
            ], data: ["exchange-1.txt"]),
        tests(
            "CASRegistryTests",
            [
                "CASCore", "CASWire", "CASFileSystem", "CASOCI", "CASCatalog", "CASRepository",
                "CASHTTP",
                "CASRegistry", "CASServer", httpTypes, log,
            ]),
        tests(
            "CASImageTests",
            [
                "CASCore", "CASCompression", "CASTree", "CASPack", "CASOCI", "CASWire",
                "CASFileSystem", "CASRepository", "CASWorkspace", "CASClient", "CASImage",
            ]),
        tests("CASKubernetesTests", ["CASCore", "CASKubernetes"], data: ["Golden"]),
        tests("CommandTests", ["CASCore", "CASFileSystem"], data: ["Snapshots"]),
        .target(
            name: "FuzzTargets",
            dependencies: [
                "CASCore", "CASChunking", "CASCompression", "CASTree", "CASPack", "CASOCI",
                "CASWire",
            ],
            path: "Tests/FuzzTargets", swiftSettings: settings),
        tests(
            "FuzzTests",
            [
                "CASCore", "CASTree", "CASPack", "CASWire", "CASFileSystem", "CASWorkspace",
                "CASHTTP", "CASClient", "CASKubernetes", "FuzzTargets", "cas",
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ]),
        tests(
            "SimulationTests",
            [
                "CASCore", "CASChunking", "CASCompression", "CASTree", "CASPack", "CASWire",
                "CASFileSystem", "CASStorage", "CASCatalog", "CASRepository", "CASWorkspace",
                "CASClient", "CASOCI",
            ]),
        tests("TidyTests", []),
    ])
