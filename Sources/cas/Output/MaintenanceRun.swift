import CASClient
import CASCore
import CASFileSystem
import CASWire
import Glibc

/// Has long work on a store done and shows how far it is.
enum MaintenanceRun {
    private static let reportMilliseconds: UInt64 = 30_000
    /// Seconds between two looks at a server on a terminal, and elsewhere.
    private static let terminalSeconds = 1
    private static let quietSeconds = 10

    /// The final state of the work; throws what it failed with.
    ///
    /// An interruption ends it in this process; a server goes on with it, and the message says so.
    static func run(
        _ request: MaintenanceRequest, _ title: String, _ store: any StoreConnection
    ) throws -> MaintenanceState {
        Interruption.leaves(.maintenance)
        let isTerminal = Terminal.isTerminal(STDERR_FILENO)
        if !isTerminal { Console.note(title) }
        let clock = SystemClock()
        var shown = clock.monotonicNanoseconds()
        var isDrawn = false
        var state = try store.maintain(request)
        while !state.isDone {
            state = try store.maintenance(
                request.id, seconds: isTerminal ? terminalSeconds : quietSeconds)
            let now = clock.monotonicNanoseconds()
            if isTerminal, !state.isDone {
                if !isDrawn { Console.note(title) }
                let room = Terminal.columns(STDERR_FILENO) - 1
                let text = String(line(state).prefix(room))
                Terminal.write(Array(("\r" + text + "\u{1b}[K").utf8), to: STDERR_FILENO)
                isDrawn = true
            } else if now - shown > reportMilliseconds * 1_000_000 {
                Console.note(line(state))
                shown = now
            }
        }
        if isDrawn { Terminal.write(Array("\r\u{1b}[K".utf8), to: STDERR_FILENO) }
        if let failure = state.failure { throw failure.error }
        return state
    }

    private static func line(_ state: MaintenanceState) -> String {
        let figures = state.figures.map { figure in
            figure.name.hasSuffix("Bytes")
                ? "\(words(figure.name.dropLast(5))) \(ByteCount.text(figure.value))"
                : "\(words(figure.name[...])) \(grouped(figure.value))"
        }
        return printable(([state.phase] + figures).joined(separator: ", "))
    }

    /// `freedPacks` as a person writes it.
    private static func words(_ name: Substring) -> String {
        name.reduce(into: "") { text, character in
            if character.isUppercase { text += " " }
            text += character.lowercased()
        }
    }
}

extension MaintenanceState {
    /// The figures for `--json`, in their order.
    var jsonFigures: [(String, JSONText)] { figures.map { ($0.name, .count($0.value)) } }
}
