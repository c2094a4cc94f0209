import CASCore
import CASWorkspace
import Foundation
import Testing

/// How the sources of rules stand to each other.
@Suite struct IgnoreRulesTests {
    private func area(_ files: [String: String]) throws -> ScanArea {
        let area = try ScanArea()
        for (name, text) in files { try area.write(name, text) }
        return area
    }

    @Test func `leaves out version control, environments and caches by default`() throws {
        let area = try area([
            "main.py": "", ".git/HEAD": "", ".venv/lib/a.py": "", "pkg/__pycache__/a.pyc": "",
            "nb/.ipynb_checkpoints/x": "", "pkg/a.py": "", ".cas/state": "", "sub/.cas/state": "",
        ])
        let scan = try HashedScan(area.path)
        #expect(scan.files == ["main.py", "pkg/a.py"])
        #expect(
            scan.skipped == [
                ".git/", ".venv/", "nb/.ipynb_checkpoints/", "pkg/__pycache__/", "sub/.cas/",
            ])
        #expect(scan.tree.skippedCounts.map(\.count) == [1, 1, 1, 1, 1])
        let all = try HashedScan(area.path, ScanOptions(useDefaults: false))
        #expect(all.files.count == 7, "everything but .cas at the root: \(all.files)")
        #expect(!all.files.contains(".cas/state"))
    }

    @Test func `a casignore brings back what a gitignore or a default leaves out`() throws {
        let area = try area([
            ".gitignore": "*.bin\nbuild/\n", ".casignore": "!model.bin\n!.venv\n*.log\n",
            "model.bin": "", "other.bin": "", "a.log": "", "build/x": "", "a.py": "",
            // Environments made by uv ignore themselves.
            ".venv/.gitignore": "*\n", ".venv/lib/x.py": "", ".venv/lib/x.bin": "",
            ".venv/lib/__pycache__/x.pyc": "", ".venv/x.log": "",
        ])
        let scan = try HashedScan(area.path)
        #expect(
            scan.files == [
                ".casignore", ".gitignore", ".venv/.gitignore", ".venv/lib/x.bin",
                ".venv/lib/x.py", "a.py", "model.bin",
            ])
        let rules = scan.tree.skipped.map { entry -> String in
            guard case .rule(let match) = entry.reason else { return "special" }
            return "\(entry.text) \(match)"
        }
        #expect(
            rules == [
                ".venv/lib/__pycache__/ default: __pycache__", ".venv/x.log .casignore:3: *.log",
                "a.log .casignore:3: *.log", "build/ .gitignore:2: build/",
                "other.bin .gitignore:1: *.bin",
            ])
    }

    @Test func `a casignore above beats a gitignore below`() throws {
        let area = try area([
            ".casignore": "!keep.txt\n", "sub/.gitignore": "*.txt\n", "sub/keep.txt": "",
            "sub/other.txt": "", "sub/deep/.casignore": "keep.txt\n", "sub/deep/keep.txt": "",
        ])
        let scan = try HashedScan(area.path)
        #expect(scan.skipped == ["sub/deep/keep.txt", "sub/other.txt"])
    }

    @Test func `the command line is stronger than every file`() throws {
        let area = try area([
            ".casignore": "*.dat\n!a.tmp\n", "a.dat": "", "b.dat": "", "a.tmp": "", "b.tmp": "",
            "x/a.dat": "",
        ])
        let scan = try HashedScan(
            area.path, ScanOptions(includes: ["/a.dat", "b.tmp"], excludes: ["*.tmp"]))
        #expect(scan.files == [".casignore", "a.dat", "b.tmp"])
    }

    @Test func `an include below an ignored directory makes the scan descend there`() throws {
        let area = try area([
            ".gitignore": "build/\nout/\n", "build/a/keep.js": "", "build/a/drop.js": "",
            "build/b/drop.js": "", "build/c/d/keep.css": "", "out/x": "", "main.py": "",
            ".venv/lib/one.so": "", ".venv/lib/two.so": "",
        ])
        let options = ScanOptions(
            includes: ["build/a/keep.js", "/build/**/*.css", ".venv/lib/one.so"])
        let scan = try HashedScan(area.path, options)
        #expect(
            scan.files == [
                ".gitignore", ".venv/lib/one.so", "build/a/keep.js", "build/c/d/keep.css",
                "main.py",
            ])
        // Directories that were read in vain do not exist; those left out are still named.
        #expect(
            try scan.directories() == [
                ".venv", ".venv/lib", "build", "build/a", "build/c", "build/c/d",
            ])
        #expect(scan.skipped == [".venv/", "build/", "out/"])
    }

    @Test func `an included directory comes whole`() throws {
        let area = try area([
            ".gitignore": "data/\n*.csv\n", "data/.gitignore": "*\n", "data/a.csv": "",
            "data/sub/b.tmp": "", "c.csv": "", "deep/data/z.csv": "",
        ])
        let scan = try HashedScan(
            area.path, ScanOptions(includes: ["/data"], excludes: ["*.tmp"]))
        #expect(scan.files == [".gitignore", "data/.gitignore", "data/a.csv"])
    }

    @Test func `patterns of the command line that can match nothing are refused`() throws {
        for pattern in ["", "#x", "!x", "/"] {
            #expect(throws: CASError.self, "'\(pattern)'") {
                try IgnoreRules(includes: [pattern])
            }
            #expect(throws: CASError.self, "'\(pattern)'") {
                try IgnoreRules(excludes: [pattern])
            }
        }
    }

    @Test func `the rules of the repository above the pushed directory count`() throws {
        let area = try area([
            ".gitignore": "*.log\n/app/secret\n/app/gen/\n", "app/.gitignore": "!keep.log\n",
            "app/a.log": "", "app/keep.log": "", "app/secret": "", "app/main.py": "",
            "app/gen/x.py": "", "app/gen/y.log": "", "sibling": "",
        ])
        try area.run(["git", "init", "-q", "."])
        try area.write(".git/info/exclude", "app/*.tmp\n")
        try area.write("app/x.tmp")
        let scan = try HashedScan(area.path + "/app", ScanOptions(includes: ["/x.tmp"]))
        #expect(scan.files == [".gitignore", "keep.log", "main.py", "x.tmp"])
        #expect(scan.skipped == ["a.log", "gen/", "secret"])
        // Whoever names an ignored directory wants it.
        let named = try HashedScan(area.path + "/app/gen")
        #expect(named.files == ["x.py", "y.log"])
        try area.run(["git", "init", "-q", "app/gen"])
        #expect(try HashedScan(area.path + "/app/gen").files == ["x.py", "y.log"])
    }

    @Test func `a linked work tree has the rules of its repository`() throws {
        let area = try area(["main/a.py": ""])
        let git = ["git", "-C", "main", "-c", "user.name=a", "-c", "user.email=a@b.c"]
        try area.run(["git", "init", "-q", "main"])
        try area.run(git + ["add", "."])
        try area.run(git + ["commit", "-q", "-m", "x"])
        try area.run(git + ["worktree", "add", "-q", "../linked"])
        try area.write("main/.git/info/exclude", "*.out\n")
        try area.write("linked/x.out")
        try area.write("linked/.env")
        let scan = try HashedScan(area.path + "/linked")
        #expect(scan.files == [".env", "a.py"])
        #expect(scan.tree.findings.map(\.text) == [".env"])
        try area.run(["git", "-C", "linked", "add", ".env"])
        #expect(try HashedScan(area.path + "/linked").tree.findings.isEmpty)
    }

    @Test func `a link in the place of an ignore file is not followed`() throws {
        let area = try area(["rules": "*\n", "a": ""])
        try area.link(".gitignore", to: "rules")
        try area.directory(".casignore")
        #expect(try HashedScan(area.path).files == ["a", "rules"])
    }
}
