/// The `$(NAME)` of Kubernetes in commands, arguments and values of variables.
package enum VariableExpansion {
    /// The text that Kubernetes turns into `text`, whatever variables there are.
    ///
    /// It makes `$` of `$$` everywhere, replaces `$(NAME)`, and takes the byte after any other `$` for a
    /// character, which breaks what is not ASCII. So a `$` is doubled where another, a parenthesis or a byte
    /// beyond ASCII follows; any other stays, and is read as it stands.
    package static func escape(_ text: String) -> String {
        guard text.utf8.contains(dollar) else { return text }
        var output: [UInt8] = []
        var run = 0
        func close(before next: UInt8?) {
            guard run > 0 else { return }
            let isPlain = run == 1 && next.map { $0 != parenthesis && $0 < 0x80 } ?? true
            output.append(contentsOf: repeatElement(dollar, count: isPlain ? 1 : run * 2))
            run = 0
        }
        for byte in text.utf8 {
            if byte == dollar {
                run += 1
            } else {
                close(before: byte)
                output.append(byte)
            }
        }
        close(before: nil)
        return String(decoding: output, as: UTF8.self)
    }

    private static let dollar = UInt8(ascii: "$")
    private static let parenthesis = UInt8(ascii: "(")
}
