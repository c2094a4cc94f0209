/// What an answer of status 401 wants (RFC 9110, 11.6.1).
struct AuthenticationChallenge: Hashable {
    /// The scheme, in lower case.
    var scheme: String
    /// The parameters, their names in lower case.
    var parameters: [String: String] = [:]

    /// The challenges of the `WWW-Authenticate` headers of an answer; what is malformed ends the list.
    static func parse(_ headers: [String]) -> [AuthenticationChallenge] {
        headers.flatMap { header in
            var reader = Reader(rest: header.utf8[...])
            return reader.challenges()
        }
    }

    private struct Reader {
        var rest: Substring.UTF8View.SubSequence

        mutating func challenges() -> [AuthenticationChallenge] {
            var found: [AuthenticationChallenge] = []
            while true {
                skip { $0 == 0x20 || $0 == 0x09 || $0 == UInt8(ascii: ",") }
                guard let word = token() else { return found }
                skipBlanks()
                guard rest.first == UInt8(ascii: "=") else {
                    found.append(AuthenticationChallenge(scheme: word.lowercased()))
                    continue
                }
                rest = rest.dropFirst()
                skipBlanks()
                guard !found.isEmpty, let value = rest.first == 0x22 ? quoted() : token() else {
                    return found
                }
                found[found.count - 1].parameters[word.lowercased()] = value
            }
        }

        mutating func skipBlanks() { skip { $0 == 0x20 || $0 == 0x09 } }

        mutating func skip(_ isSkipped: (UInt8) -> Bool) {
            while let byte = rest.first, isSkipped(byte) { rest = rest.dropFirst() }
        }

        mutating func token() -> String? {
            let bytes = rest.prefix { byte in
                byte > 0x20 && byte < 0x7f && !#"()<>@,;\"[]?={}"#.utf8.contains(byte)
            }
            guard !bytes.isEmpty else { return nil }
            rest = rest[bytes.endIndex...]
            return String(Substring(bytes))
        }

        mutating func quoted() -> String? {
            var bytes: [UInt8] = []
            rest = rest.dropFirst()
            while let byte = rest.first {
                rest = rest.dropFirst()
                switch byte {
                case 0x22: return String(validating: bytes, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let next = rest.first else { return nil }
                    bytes.append(next)
                    rest = rest.dropFirst()
                default: bytes.append(byte)
                }
            }
            return nil
        }
    }
}
