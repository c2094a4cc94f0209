import CASCore
import CASFileSystem
package import Logging

/// Writes log entries as one JSON object per line to the error output.
package struct JSONLog: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    private let clock = SystemClock()

    /// Entries of at least this level.
    package init(level: Logger.Level) { logLevel = level }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var text = "{\"time\":\"\(clock.now().iso8601)\",\"level\":\"\(event.level)\",\"message\":"
        text += JSONLog.quote(event.message.description)
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            text += ",\(JSONLog.quote(key)):\(JSONLog.quote(value.description))"
        }
        text += "}\n"
        Terminal.write(Array(text.utf8), to: 2)
    }

    /// A JSON string (RFC 8259, 7).
    private static func quote(_ text: String) -> String {
        var output = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            case _ where scalar.value < 0x20:
                output += "\\u00" + Hexadecimal.encode([UInt8(scalar.value)])
            default: output.unicodeScalars.append(scalar)
            }
        }
        return output + "\""
    }
}
