import ArgumentParser
import CASCore
import Glibc

/// Parses what the command line holds into our types; the errors are usage errors.
enum Arguments {
    /// A reference: `[HOST/]NAME[:TAG]`, `NAME@sha256:…`, `sha256:…`.
    static func reference(_ text: String) throws -> Reference {
        let name = text.hasPrefix("cas://") ? text.dropFirst(6) : text[...]
        guard !name.contains("://") else {
            throw ValidationError(
                "'\(text)' is an address and no reference; write HOST/NAME, or NAME with --server URL"
            )
        }
        guard !name.isEmpty, name.first != "/" else {
            throw ValidationError(
                "'\(text)' is no reference: it names nothing; write NAME, HOST/NAME or sha256:…")
        }
        return try usage { try Reference(text) }
    }

    /// The ref that a reference names; a digest is no ref.
    static func refName(_ reference: Reference) throws -> RefName {
        guard case .ref(let name) = reference.target else {
            throw ValidationError("'\(reference)' is a digest, but a ref (NAME:TAG) is needed here")
        }
        return name
    }

    /// A number of bytes: `500MiB`, `2G`.
    static func bytes(_ text: String) throws -> UInt64 {
        guard let count = ByteCount.parse(text) else {
            throw ValidationError("'\(text)' is no size; write a number with KiB, MiB or GiB")
        }
        return count
    }

    /// A digest: `sha256:…`, or `none` for no digest.
    static func digest(_ text: String) throws -> Digest {
        var digits = Substring(text)
        if let at = digits.lastIndex(of: "@") { digits = digits[digits.index(after: at)...] }
        if digits.hasPrefix("sha256:") { digits = digits.dropFirst(7) }
        guard let digest = Digest(hexadecimal: digits) else {
            throw ValidationError(
                "'\(text)' is no digest; a digest is sha256: and 64 hexadecimal digits")
        }
        return digest
    }

    /// A time from now on: `45s`, `90m`, `12h`, `30d`.
    static func duration(_ text: String) throws -> Int64 {
        guard let seconds = seconds(text), seconds > 0 else {
            throw ValidationError("'\(text)' is no duration; write 45s, 90m, 12h or 30d")
        }
        return seconds
    }

    /// A time that may be none: `0s`, `45s`, `12h`, `30d`.
    static func span(_ text: String) throws -> Int64 {
        guard let seconds = seconds(text) else {
            throw ValidationError("'\(text)' is no duration; write 0s, 45s, 12h or 30d")
        }
        return seconds
    }

    /// A number of bytes: `512`, `64MB`, `1.5GiB`, in binary units.
    static func size(_ text: String) throws -> UInt64 {
        guard let count = ByteCount.parse(text), count > 0 else {
            throw ValidationError("'\(text)' is no size; write 512, 64MB or 1.5GiB")
        }
        return count
    }

    /// How long to wait for a server: a duration, or `0s` for not at all.
    static func wait(_ text: String, from origin: String = "") throws -> Int64 {
        guard let seconds = seconds(text) else {
            throw ValidationError("\(origin)'\(text)' is no duration; write 0s, 45s, 10m or 1h")
        }
        return seconds
    }

    private static func seconds(_ text: String) -> Int64? {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        let digits = text.dropLast()
        guard let unit = text.last.flatMap({ units[$0] }), let count = Int64(digits),
            digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), count < 1_000_000
        else { return nil }
        return count * unit
    }

    /// Reports a bad value as an error of usage.
    static func usage<Value>(_ body: () throws -> Value) throws -> Value {
        do { return try body() } catch let error as CASError {
            throw ValidationError(
                error.message + (error.hint.map { "; \($0)" } ?? ""))
        }
    }
}

extension Arguments {
    /// Refuses a command line that is no UTF-8: what goes into a manifest would not arrive as it was written.
    static func requireText() throws {
        for index in 0..<Int(CommandLine.argc) {
            guard let word = CommandLine.unsafeArgv[index] else { continue }
            let text = String(cString: word)
            guard
                text.utf8.elementsEqual(
                    UnsafeBufferPointer(start: word, count: strlen(word)).map {
                        UInt8(bitPattern: $0)
                    })
            else {
                throw ValidationError(
                    "'\(text)' is not valid UTF-8, which manifests are written in")
            }
        }
    }
}
