/// Lines of cells in aligned columns.
struct TextTable {
    /// On which side of its column a cell stands.
    enum Alignment { case left, right }

    private let alignments: [Alignment]
    private var rows: [[String]] = []

    init(_ alignments: Alignment...) {
        self.alignments = alignments
    }

    /// Whether there is nothing in it.
    var isEmpty: Bool { rows.isEmpty }

    /// Adds a line of as many cells as there are columns.
    mutating func add(_ cells: String...) {
        rows.append(cells)
    }

    /// The lines, each after `indent`, without blanks at their ends.
    func lines(indent: String = "") -> [String] {
        let widths = alignments.indices.map { column in
            rows.map { $0[column].count }.max() ?? 0
        }
        return rows.map { row in
            var line = indent
            for (column, cell) in row.enumerated() {
                if column > 0 { line += "  " }
                let blanks = String(repeating: " ", count: widths[column] - cell.count)
                line += alignments[column] == .left ? cell + blanks : blanks + cell
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}
