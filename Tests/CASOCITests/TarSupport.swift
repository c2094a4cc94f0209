import CASCore
import CASOCI
import CASTestSupport
import Foundation
import Testing

/// What a splitter tells, with runs of one kind joined.
struct Cuts: TarConsumer, Equatable {
    enum Cut: Equatable {
        case structure([UInt8])
        case file(UInt64, [UInt8], isEnded: Bool)
        case plain([UInt8])
    }

    private(set) var cuts: [Cut] = []
    private(set) var calls = 0

    mutating func structure(_ bytes: UnsafeRawBufferPointer) throws {
        calls += 1
        #expect(!bytes.isEmpty)
        if case .structure(let run) = cuts.last {
            cuts[cuts.count - 1] = .structure(run + bytes)
        } else {
            cuts.append(.structure(Array(bytes)))
        }
    }

    mutating func beginFile(size: UInt64) throws { cuts.append(.file(size, [], isEnded: false)) }

    mutating func content(_ bytes: UnsafeRawBufferPointer) throws {
        #expect(!bytes.isEmpty)
        guard case .file(let size, let run, false) = cuts.last else {
            Issue.record("content without a file")
            return
        }
        cuts[cuts.count - 1] = .file(size, run + bytes, isEnded: false)
    }

    mutating func endFile() throws {
        guard case .file(let size, let run, false) = cuts.last else {
            Issue.record("the end of no file")
            return
        }
        cuts[cuts.count - 1] = .file(size, run, isEnded: true)
    }

    mutating func plain(_ bytes: UnsafeRawBufferPointer) throws {
        #expect(!bytes.isEmpty)
        if case .plain(let run) = cuts.last {
            cuts[cuts.count - 1] = .plain(run + bytes)
        } else {
            cuts.append(.plain(Array(bytes)))
        }
    }

    /// Everything that came, in order.
    var bytes: [UInt8] {
        cuts.flatMap { cut in
            switch cut {
            case .structure(let run), .file(_, let run, _), .plain(let run): run
            }
        }
    }

    /// Contents of the files.
    var files: [[UInt8]] {
        cuts.compactMap { if case .file(_, let run, true) = $0 { run } else { nil } }
    }

    var isPlain: Bool { cuts.allSatisfy { if case .plain = $0 { true } else { false } } }

    /// Cuts an input in buffers of these sizes, repeated; with `restores`, each by a splitter of its own.
    static func of(
        _ input: [UInt8], buffers: [Int] = [.max], restores: Bool = false
    ) throws -> Cuts {
        var cuts = Cuts()
        var splitter = TarSplitter()
        var place = 0
        var turn = 0
        while place < input.count {
            let count = min(max(1, buffers[turn % buffers.count]), input.count - place)
            try input[place..<place + count].withUnsafeBytes {
                try splitter.push($0, to: &cuts)
            }
            place += count
            turn += 1
            #expect(cuts.bytes.count + splitter.pending.count == place || cuts.calls > 64)
            if restores { splitter = try TarSplitter(state: splitter.state) }
        }
        try splitter.finish(to: &cuts)
        return cuts
    }
}

/// The entries of an archive, with contents.
struct Entries: TarEntryConsumer {
    struct Entry {
        var header: TarHeader
        var content: [UInt8] = []
    }

    private(set) var entries: [Entry] = []

    mutating func entry(_ header: TarHeader) throws { entries.append(Entry(header: header)) }
    mutating func content(_ bytes: UnsafeRawBufferPointer) throws {
        entries[entries.count - 1].content += bytes
    }
    mutating func endFile() throws {
        let last = entries[entries.count - 1]
        #expect(last.header.size == UInt64(last.content.count))
    }

    /// Reads an archive in buffers of some bytes.
    static func of(_ archive: [UInt8], buffer: Int = 10_007) throws -> [Entry] {
        var entries = Entries()
        var reader = TarReader()
        for start in stride(from: 0, to: archive.count, by: buffer) {
            try archive[start..<min(start + buffer, archive.count)].withUnsafeBytes {
                try reader.push($0, to: &entries)
            }
        }
        try reader.finish(to: &entries)
        return entries.entries
    }
}

/// A directory in which other programs run.
struct Workbench {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    func path(_ name: String) -> String { "\(directory.path)/\(name)" }

    func read(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(filePath: path(name))))
    }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        try Data(bytes).write(to: URL(filePath: path(name)))
    }

    /// Runs a program in the directory, and fails if there is none; what it printed.
    @discardableResult
    func run(_ arguments: [String]) throws -> [UInt8] {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: directory.path)
        var environment = ProcessInfo.processInfo.environment
        environment["LC_ALL"] = "C.UTF-8"
        process.environment = environment
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw CASError(
                .internalError, "\(arguments[0]) failed with \(process.terminationStatus)",
                hint: "is it installed?")
        }
        return Array(data)
    }
}

extension RandomNumberGenerator {
    /// A number of a range.
    mutating func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
    /// An element.
    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int.random(in: 0..<elements.count, using: &self)]
    }
}
