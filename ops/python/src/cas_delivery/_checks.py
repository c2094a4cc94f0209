"""Whether a statement, run again, would bring back what a notebook has now."""

from __future__ import annotations

import ast
import reprlib
import types
from typing import Any

_PLAIN = (bool, int, float, complex, str, bytes, set, type(None))


def is_import(node: ast.stmt) -> bool:
    """Tell whether a statement only imports, perhaps with another import where one is missing."""
    if isinstance(node, ast.Try):
        parts = [*node.body, *node.orelse, *(each for h in node.handlers for each in h.body)]
        return not node.finalbody and all(
            is_import(each) or isinstance(each, ast.Pass) or _is_plain_assignment(each)
            for each in parts
        )
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _is_plain_assignment(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Assign)
        and all(isinstance(target, ast.Name) for target in node.targets)
        and isinstance(node.value, ast.Constant)
    )


def is_simple(node: ast.expr) -> bool:
    """Tell whether an expression is made of literals, names and arithmetic only."""
    allowed = (
        ast.Constant, ast.Name, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.BinOp, ast.UnaryOp,
        ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
    )  # fmt: skip
    return all(isinstance(each, allowed) for each in ast.walk(node))


def alike(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, _PLAIN):
        return one == other
    return one is other


def shown(live: object) -> str:
    """Show a value in a few words; of objects that may be large, or odd, only the type."""
    return reprlib.repr(live) if isinstance(live, _PLAIN) else type(live).__name__


def gives_again(expression: ast.expr, namespace: dict[str, Any], live: object) -> bool:
    """Tell whether a simple expression has just this value."""
    names = {each.id for each in ast.walk(expression) if isinstance(each, ast.Name)}
    scope: dict[str, Any] = {"__builtins__": {}, **{name: namespace.get(name) for name in names}}
    try:
        code = compile(ast.Expression(expression), "<cell>", "eval")
        return alike(eval(code, scope), live)  # noqa: S307 # literals and names only
    except Exception:
        return False


def is_made_by(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
    text: str,
    namespace: dict[str, Any],
    live: object,
) -> bool:
    """Tell whether a live function or class is what this definition makes.

    Of a class its methods and simple constants are compared. What a decorator made of it is taken
    for right where it can not be looked into.
    """
    code = _inner(compile(text, "<cell>", "exec", dont_inherit=True), node.name)
    while node.decorator_list and hasattr(live, "__wrapped__"):
        live = live.__wrapped__
    if isinstance(node, ast.ClassDef):
        if not isinstance(live, type) or live.__qualname__ != node.name:
            return bool(node.decorator_list)
        return code is not None and _is_class_made_by(node, code, namespace, live)
    if not isinstance(live, types.FunctionType) or live.__qualname__ != node.name:
        return bool(node.decorator_list)
    return _same_code(code, live.__code__)


def _is_class_made_by(
    node: ast.ClassDef, code: types.CodeType, namespace: dict[str, Any], live: type
) -> bool:
    for part in node.body:
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and not part.decorator_list:
            method = live.__dict__.get(part.name)
            if isinstance(method, types.FunctionType) and method.__module__ == "__main__":
                if not _same_code(_inner(code, part.name), method.__code__):
                    return False
        elif isinstance(part, ast.Assign) and is_simple(part.value):
            names = [each.id for each in part.targets if isinstance(each, ast.Name)]
            for name in names:
                if name in live.__dict__ and not isinstance(part.value, ast.Name):
                    scope = {**namespace, **live.__dict__}
                    if not gives_again(part.value, scope, live.__dict__[name]):
                        return False
    return True


def _inner(code: types.CodeType, name: str) -> types.CodeType | None:
    codes = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return next((each for each in reversed(codes) if each.co_name == name), None)


def _same_code(one: types.CodeType | None, other: types.CodeType) -> bool:
    """Compare what code does, not where it stood."""
    if one is None or one.co_code != other.co_code or one.co_names != other.co_names:
        return False
    if one.co_varnames != other.co_varnames or len(one.co_consts) != len(other.co_consts):
        return False
    for left, right in zip(one.co_consts, other.co_consts):
        if isinstance(left, types.CodeType) and isinstance(right, types.CodeType):
            if not _same_code(left, right):
                return False
        elif type(left) is not type(right) or left != right:
            return False
    return True
