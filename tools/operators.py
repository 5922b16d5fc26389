"""Faults that are made by rule: every place of a Python file where one small change is a mistake.

A change replaces the text of one piece of the syntax tree, or of two statements, and leaves all
other text as it is. What stands outside of functions is left alone: tables and constants are held
by other tests.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_BOUNDARIES = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_COMPARISONS = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.In: "not in",
    ast.NotIn: "in",
}
# What makes something durable: each of these calls returns whether it was done.
_SYNCS = {"sync", "append", "replace", "finish", "_write", "flush", "commit"}
_PLAIN = (ast.Expr, ast.Assign, ast.AugAssign)


@dataclass(frozen=True)
class Change:
    """One fault: what stands from `start` to `end` in the file's bytes becomes `new`."""

    operator: str
    line: int
    start: int
    end: int
    old: str
    new: str


class _Text:
    """The bytes of a file, with the places of nodes: an `ast` column counts bytes."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self._lines = [0]
        for line in self.data.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self._lines[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        return self._lines[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)

    def of(self, node: ast.expr | ast.stmt) -> str:
        return self.data[self.start(node) : self.end(node)].decode()

    def change(self, operator: str, node: ast.expr | ast.stmt, new: str) -> Change:
        start, end = self.start(node), self.end(node)
        return Change(operator, node.lineno, start, end, self.of(node), new)


def changes(text: str) -> list[Change]:
    """Return every change of the file, in order of its lines; see `compiles`."""
    source = _Text(text)
    found: dict[tuple[int, int, str], Change] = {}
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            for change in _of_function(source, function):
                found.setdefault((change.start, change.end, change.new), change)
    return sorted(found.values(), key=lambda change: (change.start, change.end, change.new))


def changed(text: str, change: Change) -> str:
    """Return the file's text with the fault in it."""
    data = text.encode()
    return (data[: change.start] + change.new.encode() + data[change.end :]).decode()


def compiles(text: str) -> bool:
    """Return whether the text is Python: a change may have gone through an f-string."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _of_function(text: _Text, function: ast.FunctionDef) -> Iterator[Change]:
    for statement in function.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Compare) and len(node.ops) == 1:
                yield from _of_comparison(text, node)
            elif isinstance(node, ast.Constant):
                yield from _of_constant(text, node)
            elif isinstance(node, ast.If | ast.While | ast.IfExp):
                yield text.change("negated condition", node.test, f"not ({text.of(node.test)})")
            elif isinstance(node, ast.Call) and _name(node.func) in _SYNCS:
                yield text.change("removed sync", node, "True")
            for block in ("body", "orelse", "finalbody"):
                yield from _of_block(text, getattr(node, block, None))
    yield from _of_block(text, function.body)


def _of_comparison(text: _Text, node: ast.Compare) -> Iterator[Change]:
    left, right = text.of(node.left), text.of(node.comparators[0])
    operator = type(node.ops[0])
    for name, table in (("boundary", _BOUNDARIES), ("comparison", _COMPARISONS)):
        if operator in table:
            yield text.change(name, node, f"{left} {table[operator]} {right}")


def _of_constant(text: _Text, node: ast.Constant) -> Iterator[Change]:
    if type(node.value) is int:
        yield text.change("constant", node, str(node.value + 1))
    elif type(node.value) is bool:
        yield text.change("constant", node, str(not node.value))


def _of_block(text: _Text, block: object) -> Iterator[Change]:
    if not isinstance(block, list):
        return
    plain = [_is_plain(statement) for statement in block]
    for place, statement in enumerate(block):
        if not plain[place]:
            continue
        yield text.change("removed statement", statement, "pass")
        before = block[place - 1]
        # Two values that are only noted may come in any order.
        if place and plain[place - 1] and (_calls(before) or _calls(statement)):
            start, end = text.start(before), text.end(statement)
            between = text.data[text.end(before) : text.start(statement)].decode()
            old, new = text.data[start:end].decode(), text.of(statement)
            new += between + text.of(before)
            yield Change("swapped writes", before.lineno, start, end, old, new)


def _is_plain(statement: object) -> bool:
    """Return whether it does something to what outlives the function, and nothing else."""
    if not isinstance(statement, _PLAIN):
        return False
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return all(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)


def _calls(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Call) for node in ast.walk(statement))


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else ""
