"""What ran in a notebook: the statements of its cells, exactly as they were typed."""

from __future__ import annotations

import ast
import io
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}


@dataclass
class Piece:
    """A top-level statement of a cell, with what it binds and what it needs."""

    cell: int
    node: ast.stmt
    text: str
    exact: bool
    eager: set[str] = field(default_factory=set)
    """Names that it needs when it runs."""
    later: set[str] = field(default_factory=set)
    """Names that functions in it need when they are called."""
    stored: set[str] = field(default_factory=set)
    """Names that functions in it bind by `global`."""

    @property
    def where(self) -> str:
        return f"cell {self.cell}"


def _lines(text: str) -> list[str]:
    """Split as Python's own tokenizer does, keeping the ends."""
    return list(io.StringIO(text, newline=""))


class History:
    """The statements of all cells that ran, and which of them bound a name last."""

    def __init__(self, shell: Any) -> None:
        self.futures: list[str] = []
        self.last: dict[str, Piece] = {}
        self.magic_cells: list[tuple[int, str]] = []
        self.changed: list[tuple[str, str, int]] = []
        self.stars: list[Piece] = []
        raw = shell.history_manager.input_hist_raw
        parsed = shell.history_manager.input_hist_parsed
        for number in range(1, min(len(raw), len(parsed))):
            self._read(number, str(raw[number]), str(parsed[number]))

    def _read(self, number: int, raw: str, parsed: str) -> None:
        if raw.lstrip().startswith("%%"):
            self.magic_cells.append((number, raw))
        text = raw
        try:
            tree = ast.parse(raw)
        except (SyntaxError, ValueError):
            try:
                text, tree = parsed, ast.parse(parsed)
            except (SyntaxError, ValueError):
                return  # It did not run either.
        lines = _lines(text)
        for node in tree.body:
            piece = Piece(number, node, *_extract(node, tree.body, lines, raw))
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                if piece.text.strip() not in self.futures:
                    self.futures.append(piece.text.strip())
                continue
            if isinstance(node, ast.ImportFrom) and any(each.name == "*" for each in node.names):
                self.stars.append(piece)
            for name in _bound(node):
                self.last[name] = piece
            self.changed += [(*change, number) for change in _attribute_targets(node)]


def _extract(node: ast.stmt, body: list[ast.stmt], lines: list[str], raw: str) -> tuple[str, bool]:
    """Return a statement's text, in whole lines if it can, and whether the cell has just that."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    last = node.end_lineno or node.lineno
    shared = any(
        other is not node and other.lineno <= last and (other.end_lineno or other.lineno) >= first
        for other in body
    )
    if shared:
        text = ast.get_source_segment("".join(lines), node) or ""
        return text + "\n", text in raw
    text = "".join(lines[first - 1 : last])
    return text, text.rstrip("\n") in raw


def _bound(node: ast.AST) -> Iterator[str]:
    """Name what a statement binds where it stands, not in functions and classes within it."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
        return
    if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield (alias.asname or alias.name.split(".")[0])
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield node.id
    if isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def _attribute_targets(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Give the name and the text of each attribute that a statement sets: `Model.forward = f`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        targets = [node.target]
    for target in targets:
        base = target
        while isinstance(base, (ast.Attribute, ast.Subscript)):
            base = base.value
        if base is not target and isinstance(base, ast.Name):
            yield base.id, ast.unparse(target)


def find_needs(piece: Piece, futures: list[str]) -> None:
    """Fill in which global names a statement needs, at once and later.

    With `from __future__ import annotations` those in annotations alone are not needed.
    """

    def walk(table: symtable.SymbolTable, late: bool) -> None:
        # A comprehension runs at once, although it has a function's table.
        late = late or (table.get_type() == "function" and table.get_name() not in _COMPREHENSIONS)
        for symbol in table.get_symbols():
            name = symbol.get_name()
            if symbol.is_declared_global() and symbol.is_assigned():
                piece.stored.add(name)
            if symbol.is_referenced() and (symbol.is_global() or table is top):
                (piece.later if late else piece.eager).add(name)
        for child in table.get_children():
            walk(child, late)

    text = piece.text
    if any("annotations" in future for future in futures):
        text = ast.unparse(_WithoutAnnotations().visit(ast.parse(text)))
    top = symtable.symtable(text, "<cell>", "exec")
    walk(top, False)


class _WithoutAnnotations(ast.NodeTransformer):
    """Takes out annotations, which Python 3.9 would count among the names that are needed."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)
