import CASCore

/// One `LENGTH KEY=VALUE` line of a PAX header (POSIX.1-2017, pax, "pax Extended Header").
struct PAXRecord: Hashable, Sendable {
    /// Bytes of all records before one entry that are read.
    static let maximumBytes = 64 << 10

    let key: [UInt8]
    let value: [UInt8]

    init(_ key: String, _ value: [UInt8]) {
        self.key = Array(key.utf8)
        self.value = value
    }

    init(_ key: String, _ value: UInt64) {
        self.init(key, Array("\(value)".utf8))
    }

    private init(key: [UInt8], value: [UInt8]) {
        self.key = key
        self.value = value
    }

    /// The lines; the length counts its own digits.
    static func encode(_ records: [PAXRecord]) -> [UInt8] {
        var output: [UInt8] = []
        for record in records {
            let rest = record.key.count + record.value.count + 3
            var length = rest
            while rest + "\(length)".utf8.count != length { length = rest + "\(length)".utf8.count }
            output += "\(length) ".utf8
            output += record.key
            output.append(UInt8(ascii: "="))
            output += record.value
            output.append(UInt8(ascii: "\n"))
        }
        return output
    }

    /// Reads lines; throws `dataLoss` unless they fill the bytes.
    static func parse(_ bytes: [UInt8]) throws -> [PAXRecord] {
        var records: [PAXRecord] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let space = rest.prefix(8).firstIndex(of: UInt8(ascii: " ")),
                let length = number(rest[..<space]), length <= rest.count,
                length > UInt64(space - rest.startIndex + 1)
            else { throw malformed() }
            let line = rest[(space + 1)..<(rest.startIndex + Int(length))]
            guard line.last == UInt8(ascii: "\n"),
                let equals = line.firstIndex(of: UInt8(ascii: "=")), equals > line.startIndex
            else { throw malformed() }
            records.append(
                PAXRecord(
                    key: Array(line[..<equals]), value: Array(line[(equals + 1)...].dropLast())))
            rest = rest[line.endIndex...]
        }
        return records
    }

    /// The value of the last record with that key.
    static func value(_ key: StaticString, in records: [PAXRecord]) -> [UInt8]? {
        let text = UnsafeRawBufferPointer(start: key.utf8Start, count: key.utf8CodeUnitCount)
        return records.last { $0.key.elementsEqual(text) }?.value
    }

    /// The whole number that a value is; throws `dataLoss` for anything else.
    static func integer(_ value: [UInt8]) throws -> UInt64 {
        guard let number = number(value[...]) else { throw malformed() }
        return number
    }

    /// The whole seconds of a time, which may have a sign and a fraction; throws `dataLoss`.
    static func seconds(_ value: [UInt8]) throws -> Int64 {
        let isNegative = value.first == UInt8(ascii: "-")
        let digits = value[(isNegative ? 1 : 0)...].prefix { $0 != UInt8(ascii: ".") }
        guard let number = number(digits), let seconds = Int64(exactly: number) else {
            throw malformed()
        }
        let fraction = value[digits.endIndex...].dropFirst()
        let isWhole = fraction.allSatisfy { $0 == UInt8(ascii: "0") }
        // Seconds are rounded down, so that a time before 1970 with a fraction goes one further.
        return isNegative ? -seconds - (isWhole ? 0 : 1) : seconds
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        guard !digits.isEmpty else { return nil }
        var value: UInt64 = 0
        for byte in digits {
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(byte - 0x30))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        return value
    }

    static func malformed() -> CASError {
        CASError(.dataLoss, "a PAX header of a tar archive is malformed")
    }
}
