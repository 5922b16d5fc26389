"""Remove from the firmware's programs the text that boards do not need; lines keep their numbers.

That text is read by type checkers only, or is the import of const, which MicroPython's compiler
knows by itself, or the names of whole numbers: the compiler puts a number in place of its name in
the module that defines it only if the name begins with an underscore, and every other name costs
each module that knows it 8 bytes of heap. Here the number takes the place of the name everywhere.
A class stores its module and its name, and a module its name and its file. None of our programs
asks for them.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping

from host.words import _

# The whole numbers that the modules of the firmware define, by module and then by name.
Numbers = Mapping[str, Mapping[str, int]]

# On a 32-bit board other numbers are objects, and one copy of each is enough.
_SMALL = range(-(1 << 30), 1 << 30)


class LeanError(Exception):
    """A program uses the name of a number where a number cannot replace it."""


def numbers_of(texts: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Return the numbers that the programs define, which `texts` holds by the module's name.

    A number is defined once, at the left margin, under a name in capitals, by a literal or by
    other numbers.
    """
    trees = {module: tree for module, text in texts.items() if (tree := _parsed(text))}
    numbers: dict[str, dict[str, int]] = {module: {} for module in trees}
    for module, tree in trees.items():
        _define(tree, numbers, module)
    # Modules come in no order, and a few numbers are those of another module.
    for module, tree in trees.items():
        _define(tree, numbers, module)
    return numbers


def _define(tree: ast.Module, numbers: dict[str, dict[str, int]], module: str) -> None:
    known = _Known(tree, numbers, module)
    stored = Counter(
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    for node in tree.body:
        if isinstance(node, ast.Assign) and (name := _defined(node)) and stored[name] == 1:
            value = known.value(node.value)
            if value is not None and value in _SMALL:
                known.numbers[name] = numbers[module][name] = value


def _defined(node: ast.stmt) -> str:
    """Return the name in capitals that a statement gives a value, "" without one."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
        return name if name.isupper() and name != "TYPE_CHECKING" else ""
    return ""


def lean(text: str, numbers: Numbers | None = None, module: str = "") -> str:
    """Return the program `text` of the firmware's `module` as a board gets it.

    A text that is none of the firmware's, a test of it, has no module.

    Raises:
        LeanError: one of `numbers` cannot be put in its place.
    """
    tree = _parsed(text)
    if tree is None:
        return text  # the compiler reports the place
    lines = text.encode().splitlines(keepends=True)
    _spare_types(tree, lines)
    _spare_own_names(lines, [] if not module else _names_of_module(module, numbers or {}))
    if numbers:
        _put_in_place(lines, numbers, module)
    return b"".join(lines).decode()


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except SyntaxError:
        return None


def _spare_types(tree: ast.Module, lines: list[bytes]) -> None:
    """Blank the text that only type checkers read, and the import of const."""
    asked = sum(1 for node in ast.walk(tree) if _is_type_checking(node, ast.Load))
    spared: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.If) and _is_type_checking(node.test) and not node.orelse:
            asked -= 1
            spared.append(node)
        elif ast.unparse(node) == "from micropython import const":
            spared.append(node)
    if not asked:
        answers = [node for node in tree.body if isinstance(node, ast.Assign)]
        spared += [node for node in answers if _is_type_checking(node.targets[0], ast.Store)]
    for node in spared:
        _replace(lines, node, "")


def _names_of_module(module: str, numbers: Numbers) -> list[str]:
    """Return the names that a module of the firmware stores and none asks for.

    The name of a package is asked for when one of its modules is imported.
    """
    is_package = any(name.startswith(module + ".") for name in numbers)
    return ["__file__"] if is_package else ["__name__", "__file__"]


def _spare_own_names(lines: list[bytes], names: list[str]) -> None:
    """Let classes delete two names, and the module `names`, in the place of a docstring.

    What a board starts is no module for others, and asks for its name.
    """
    tree = ast.parse(b"".join(lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and ast.get_docstring(node):
            _replace(lines, node.body[0], "del __module__, __qualname__")
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if names and ast.get_docstring(tree) and not used & {"__name__", "__file__"}:
        _replace(lines, tree.body[0], "del " + ", ".join(names))


def _is_type_checking(node: ast.AST, context: type[ast.expr_context] = ast.Load) -> bool:
    return (
        isinstance(node, ast.Name) and node.id == "TYPE_CHECKING" and isinstance(node.ctx, context)
    )


def _put_in_place(lines: list[bytes], numbers: Numbers, module: str) -> None:
    """Replace each name of a number in the program `lines`, and blank its definition."""
    own = numbers.get(module, {})
    for node in ast.parse(b"".join(lines)).body:
        if _defined(node) in own:
            _replace(lines, node, "")
    tree = ast.parse(b"".join(lines))
    known = _Known(tree, numbers, module)
    uses = _Uses(known)
    uses.visit(tree)
    for imported in ast.walk(tree):
        if isinstance(imported, ast.ImportFrom):
            _spare_import(lines, imported, known, uses)
    # From the right, so that a replacement moves no later one.
    for use in sorted(uses.found, key=lambda use: -use.col_offset):
        line, begin, end = lines[use.lineno - 1], use.col_offset, use.end_col_offset
        if line[begin:end] != ast.unparse(use).encode() or use.end_lineno != use.lineno:
            raise LeanError(
                _("{module}, line {line}: {name} is not in one piece").format(
                    module=module, line=use.lineno, name=ast.unparse(use)
                )
            )
        number = known.value(use)
        shown = str(number) if number is not None and number >= 0 else f"({number})"
        lines[use.lineno - 1] = line[:begin] + shown.encode() + line[end:]


def _spare_import(
    lines: list[bytes], node: ast.ImportFrom, known: "_Known", uses: "_Uses"
) -> None:
    """Shorten an import to the names that are still used."""
    kept = []
    for one in node.names:
        name = one.asname or one.name
        left = uses.others.get(name, 0)
        if name in known.numbers and left:
            raise LeanError(
                _("line {line}: {name} has more than one meaning").format(
                    line=node.lineno, name=name
                )
            )
        if name not in known.numbers and (left or name not in uses.modules):
            kept.append(one)
    if len(kept) < len(node.names):
        shorter = ast.unparse(ast.ImportFrom(node.module, kept, 0)) if kept else ""
        _replace(lines, node, shorter or ("pass" if node.col_offset else ""))


def _replace(lines: list[bytes], node: ast.stmt, text: str) -> None:
    """Put `text` on the first line of a statement that has its lines for itself."""
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    lines[first:last] = [lines[first][: node.col_offset] + text.encode() + b"\n"] + [b"\n"] * (
        last - first - 1
    )


class _Known:
    """The meaning of a program's names: `modules` of the firmware, and its `numbers`."""

    def __init__(self, tree: ast.Module, numbers: Numbers, module: str) -> None:
        self._all = numbers
        self.modules: dict[str, str] = {}
        self.numbers = dict(numbers.get(module, {}))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for one in node.names:
                    self._add(node.module or "", one)
            elif isinstance(node, ast.Import):
                for one in node.names:
                    if one.name in numbers:
                        self.modules[one.asname or one.name] = one.name

    def _add(self, module: str, imported: ast.alias) -> None:
        name = imported.asname or imported.name
        if f"{module}.{imported.name}" in self._all:
            self.modules[name] = f"{module}.{imported.name}"
        elif imported.name in self._all.get(module, {}):
            self.numbers[name] = self._all[module][imported.name]

    def value(self, node: ast.expr) -> int | None:
        """Return the number that an expression has in every run, None without one."""
        match node:
            case ast.Constant(value=value) if type(value) is int:
                return value
            case ast.Name(id=name):
                return self.numbers.get(name)
            case ast.Attribute(value=of, attr=name):
                return self._all.get(self.modules.get(ast.unparse(of), ""), {}).get(name)
            case ast.Call(func=ast.Name(id="const"), args=[inner]):
                return self.value(inner)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                value = self.value(inner)
                return None if value is None else -value
            case ast.BinOp(left=left, op=op, right=right):
                return self._joined(op, self.value(left), self.value(right))
        return None

    @staticmethod
    def _joined(op: ast.operator, left: int | None, right: int | None) -> int | None:
        if left is None or right is None:
            return None
        match op:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
            case ast.Mult():
                return left * right
            case ast.LShift():
                return left << right
            case ast.BitOr():
                return left | right
        return None


class _Uses(ast.NodeVisitor):
    """The places of a program that use a number, and how often other names are used."""

    def __init__(self, known: _Known) -> None:
        self._known = known
        self._hidden: list[set[str]] = []
        self.found: list[ast.Attribute | ast.Name] = []
        # Modules that a number was taken from.
        self.modules: set[str] = set()
        self.others: dict[str, int] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default:
                self.visit(default)
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._hidden.append(set(_bound(node)))
        for inner in node.body:
            self.visit(inner)
        self._hidden.pop()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        of = ast.unparse(node.value)
        if not self._is_hidden(of) and self._known.value(node) is not None:
            self.found.append(node)
            self.modules.add(of)
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and not self._is_hidden(node.id):
            if node.id in self._known.numbers:
                self.found.append(node)
            else:
                self.others[node.id] = self.others.get(node.id, 0) + 1

    def _is_hidden(self, name: str) -> bool:
        return any(name in names for names in self._hidden)


def _bound(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the names that a function defines for itself."""
    arguments = function.args
    for one in (*arguments.args, *arguments.kwonlyargs, *arguments.posonlyargs):
        yield one.arg
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
