"""Replace names in the firmware's programs by short ones, for boards; lines keep their numbers.

A frozen image holds the text of each name once, and each module a list of the names that it uses.
An argument that no call names may have any name, so the arguments of all functions share a few
letters. A private name, which begins with an underscore, is known to its module, to those that
inherit from it and to tests, so modules that have nothing to do with each other share a short
name. `readable` puts the long names back into what a board prints, above all into a traceback.
"""

import ast
import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from string import ascii_lowercase, ascii_uppercase

from host.words import _

# A name of two letters is short already.
_SHORTEST = 2
# Among some seeds, the one with which readings and charges cost the fewest instructions.
_SEED = b"2"
_PRIVATE = re.compile(r"_[A-Za-z]\w*")
_WHERE = re.compile(r'File "(?P<file>[^"]+)", line \d+')
# Where a traceback has the name of a function, and of what an object or a module has not.
_SHORT = re.compile(r"(?<=, in )[A-Za-z]{1,3}(?=\s*$)|(?<=')[A-Za-z]{1,3}(?=')")

# What MicroPython calls, or what is called on its objects, and what our programs name as well.
_CALLED = """
    IDLE NORMAL OPEN SILENT STOPPED TYPE_CHECKING active add alarm append before board buf build
    busy choice clear close code columns command commit connect connection count data decode done
    drain encode end error fail feed find flags head index input ioctl items join key keys limit
    line lines link load locked main measure name names next noise open parity password pending pin
    pins poll present protocol ptr8 ptr32 put random rate read readblocks reason readfrom_into
    readinto registers release remove replace reset reset_cause round rounds run search seek select
    seq session set set_power show size source spi start state status step stop sync tell text
    ticks_add ticks_diff unwrap values version wake write writeblocks writeto
"""
_OF_MICROPYTHON = frozenset(_CALLED.split())


class NamesError(Exception):
    """A program uses a name where no other can take its place."""


@dataclass(frozen=True)
class Names:
    """The short names: `short` by the long ones, and the names of `keywords` in calls."""

    short: Mapping[str, str]
    keywords: frozenset[str]
    # The long names that each module uses, so that a short name can be read back.
    used: Mapping[str, frozenset[str]]


def names_of(texts: Mapping[str, str], own: Collection[str], said: frozenset[str]) -> Names:
    """Return short names for the programs, which `texts` holds by the module's name.

    Public names are those of the modules `own` alone. `said` is what programs that are written
    elsewhere name, so it stays.
    """
    trees = {module: ast.parse(text) for module, text in sorted(texts.items())}
    keywords = frozenset(
        node.arg
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg
    )
    kept = keywords | said | _OF_MICROPYTHON | _of_modules(texts) | _exceptions(trees.values())
    used: dict[str, set[str]] = {}
    taken: set[str] = set()
    for module, tree in trees.items():
        _rename_arguments(tree, keywords)
        kept = kept.union(_fixed(tree))
        words = {word for _line, _column, word in _places(tree, "")}
        taken |= words
        used[module] = words
    public = {word for module in own for word in _public(trees[module])}
    places = {
        module: {word for word in words - kept if word in public or _PRIVATE.fullmatch(word)}
        for module, words in used.items()
    }
    short = _share(places, _families(trees), _given_outside(trees), _fresh(taken))
    tops = {module.partition(".")[0] for module in texts}
    foreign = {word for tree in trees.values() for word in _of_ports(tree, tops)}
    # Left out at the end, so that all others have the names that the budget was measured with.
    short = {
        word: name
        for word, name in short.items()
        if word not in foreign or _PRIVATE.fullmatch(word)
    }
    return Names(short, keywords, {module: frozenset(words) for module, words in used.items()})


def _of_modules(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(part for module in texts for part in module.split("."))


def _of_ports(tree: ast.Module, tops: Collection[str]) -> Iterator[str]:
    """Yield what a program uses of modules that are not ours, as Flash of rp2.

    `tops` has the first parts of the names of our modules.
    """
    foreign: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = (one.asname or one.name for one in node.names)
            foreign.update(name for name in names if name.partition(".")[0] not in tops)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] not in tops:
            yield from (one.name for one in node.names)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in foreign
        ):
            yield node.attr


def _exceptions(trees: Iterable[ast.Module]) -> frozenset[str]:
    """Return the names of exceptions, with which a board begins what it prints of them."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found: set[str] = set()
    count = -1
    while count < len(found):
        count = len(found)
        for node in classes:
            bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
            if bases & found or any(base.endswith(("Error", "Exception")) for base in bases):
                found.add(node.name)
    return frozenset(found)


def _public(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a program defines for others."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.FunctionDef(name=word)
                | ast.ClassDef(name=word)
                | ast.Attribute(attr=word, ctx=ast.Store())
            ):
                if len(word) > _SHORTEST and not word.startswith("_"):
                    yield word
            case ast.Module(body=body) | ast.ClassDef(body=body):
                for one in body:
                    if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
                        word = one.targets[0].id
                        if len(word) > _SHORTEST and not word.startswith("_"):
                            yield word


def _given_outside(trees: Mapping[str, ast.Module]) -> set[str]:
    """Return the attributes that something else than the object itself sets."""
    return {
        node.attr
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }


def words_in_programs(texts: Iterable[str]) -> frozenset[str]:
    """Return the words of programs for a board that stand as strings in the programs `texts`."""
    return frozenset(
        word
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and "import " in node.value
        for word in re.findall(r"[A-Za-z_]\w*", node.value)
    )


def _fixed(tree: ast.Module) -> Iterator[str]:
    """Yield the names that have to stay.

    Those of constants leave nothing in the image; strings name what a program looks up; the others
    are in places that `_places` has not.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and not _PRIVATE.fullmatch(str(node.value)):
            yield str(node.value)
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else ()
            for one in node.names:
                yield from one.name.split(".") if isinstance(node, ast.Import) else ()
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node.value.func) == "const"
            and node.targets[0].id.startswith("_")
        ):
            yield node.targets[0].id


def _families(trees: Mapping[str, ast.Module]) -> dict[str, str]:
    """Return a module of the family that each module belongs to by the classes it inherits."""
    family = {module: module for module in trees}

    def head(module: str) -> str:
        while family[module] != module:
            module = family[module]
        return module

    for module, tree in trees.items():
        from_where = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for one in node.names:
                    from_where[one.asname or one.name.partition(".")[0]] = one.name
            elif isinstance(node, ast.ImportFrom):
                for one in node.names:
                    whole = f"{node.module}.{one.name}"
                    from_where[one.asname or one.name] = (
                        whole if whole in trees else node.module or ""
                    )
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    where = from_where.get(ast.unparse(base).partition(".")[0], module)
                    if where in trees:
                        family[head(where)] = head(module)
    return {module: head(module) for module in trees}


def _share(
    used: Mapping[str, set[str]],
    families: Mapping[str, str],
    alone: set[str],
    fresh: Iterator[str],
) -> dict[str, str]:
    """Return short names for all that are used; two of one family have never the same.

    Those of `alone` are shared with none.
    """
    where = defaultdict(set)
    for module, words in used.items():
        for word in words:
            where[word].add(families[module])
    for word in alone & where.keys():
        where[word].update(families.values())
    pool: dict[str, set[str]] = {}
    found = {}
    # The names in most places first, so that they share the fewest short ones.
    for word in sorted(where, key=lambda word: (-len(where[word]), word)):
        free = (one for one in pool.items() if not one[1] & where[word])
        short, places = next(free, ("", set()))
        found[word] = short or next(fresh)
        pool[found[word]] = places | where[word]
    return found


def _fresh(taken: set[str]) -> Iterator[str]:
    """Yield names that no program uses."""
    of_two = map("".join, product(ascii_lowercase, ascii_uppercase))
    of_three = map("".join, product(ascii_lowercase, ascii_uppercase, ascii_lowercase))
    for words in (ascii_uppercase, of_two, of_three):
        yield from (word for word in sorted(words, key=_scattered) if word not in taken)


def _scattered(word: str) -> bytes:
    """Return a key that puts names in no order.

    MicroPython finds a name by a number made of its letters. Numbers in a row fill its tables in a
    row, and what is not there is then looked for at many places.
    """
    return hashlib.sha256(_SEED + word.encode()).digest()


def shorten(text: str, names: Names) -> str:
    """Return the program `text` with short names.

    Raises:
        NamesError: a name is not in one piece.
    """
    tree = ast.parse(text)
    before = [(line, column, word) for line, column, word in _places(tree, text)]
    _rename_arguments(tree, names.keywords)
    after = [word for _line, _column, word in _places(tree, text)]
    lines = text.encode().splitlines(keepends=True)
    edits = [
        (line, column, word, names.short.get(new, new))
        for (line, column, word), new in zip(before, after, strict=True)
    ]
    # From the right, so that a replacement moves no later one.
    for line, column, word, new in sorted(set(edits), reverse=True):
        if word == new:
            continue
        octets, old = lines[line - 1], word.encode()
        if octets[column : column + len(old)] != old:
            raise NamesError(
                _("line {line}: {name} is not in one piece").format(line=line, name=word)
            )
        lines[line - 1] = octets[:column] + new.encode() + octets[column + len(old) :]
    return b"".join(lines).decode()


def _places(tree: ast.Module, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield line, octet and name of each place that names something of the program itself."""
    lines = text.encode().splitlines() if text else []
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=word) | ast.arg(arg=word):
                yield node.lineno, node.col_offset, word
            case ast.Attribute(attr=word):
                yield node.end_lineno or 0, (node.end_col_offset or 0) - len(word.encode()), word
            case ast.FunctionDef(name=word):
                yield node.lineno, node.col_offset + len("def "), word
            case ast.ClassDef(name=word):
                yield node.lineno, node.col_offset + len("class "), word
            case ast.Constant(value=str(word)) if _PRIVATE.fullmatch(word):
                yield node.lineno, node.col_offset + 1, word
            case ast.ImportFrom(names=names):
                for one in names:
                    yield one.lineno, one.col_offset, one.name
                    if one.asname:
                        end = one.end_col_offset or 0
                        yield one.end_lineno or 0, end - len(one.asname.encode()), one.asname
            case ast.Global(names=words) | ast.Nonlocal(names=words):
                line = lines[node.lineno - 1] if lines else b""
                for word in words:
                    found = re.search(rb"\b%s\b" % word.encode(), line)
                    yield node.lineno, found.start() if found else 0, word


def _rename_arguments(tree: ast.Module, keywords: frozenset[str]) -> None:
    """Give the arguments that no call names the first letters that their function leaves free."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.Lambda):
            continue
        inside = list(ast.walk(function))
        outside = [*function.args.defaults, *function.args.kw_defaults]
        outside += getattr(function, "decorator_list", [])
        given = {name for node in outside if node for name in _named(node)}
        taken = {name for node in inside for name in _own(node)}
        arguments = [one for one in function.args.args if len(one.arg) > 1 and one.arg != "self"]
        new = {}
        letters = (letter for letter in ascii_lowercase if letter not in taken)
        for one in arguments:
            if one.arg not in keywords | given and (letter := next(letters, "")):
                new[one.arg] = letter
        for node in inside:
            if isinstance(node, ast.Name):
                node.id = new.get(node.id, node.id)
            elif isinstance(node, ast.arg):
                node.arg = new.get(node.arg, node.arg)


def _named(node: ast.AST) -> Iterator[str]:
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name))


def _own(node: ast.AST) -> Iterator[str]:
    """Yield the names that a part of a function uses or defines by itself."""
    match node:
        case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)):
            yield name
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            for one in aliases:
                yield (one.asname or one.name).partition(".")[0]


def readable(printed: str, names: Names, module_of: Mapping[str, str]) -> str:
    """Return what a board printed with the long names in place of the short ones.

    A line that names a file has the names of its module, by `module_of`; the lines behind it have
    them in quotes.
    """
    lines = []
    long: dict[str, str] = {}
    for line in printed.splitlines(keepends=True):
        if where := _WHERE.search(line):
            words = names.used.get(module_of.get(where["file"], ""), frozenset())
            long = {names.short[word]: word for word in words if word in names.short}
        lines.append(_put_back(line, long))
    return "".join(lines)


def _put_back(line: str, long: Mapping[str, str]) -> str:
    return _SHORT.sub(lambda found: long.get(found[0], found[0]), line)
