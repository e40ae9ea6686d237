"""The mutants of a module: copies of its source that differ in one place.

Belongs here: where a source can be broken, and how. Not here: running tests on the result (__main__.py).
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.And: (r"\band\b", "or"),
    ast.Or: (r"\bor\b", "and"),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: (r"\bis\b", "is not"),
    ast.IsNot: (r"\bis\s+not\b", "is"),
    ast.In: (r"\bin\b", "not in"),
    ast.NotIn: (r"\bnot\s+in\b", "in"),
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
_IS_SQL = re.compile(r"\b(select|update|insert|delete|where|order by|create|alter|drop|copy|having)\b")
_SQL_SWAPS = [
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\band\b", "or"),
        (r"\bor\b(?! replace)", "and"),
        (r"\bnot ", ""),
        (r"(?<= )=(?= )", "<>"),
        (r"<>", "="),
        (r"(?<= )<(?= )", "<="),
        (r"(?<= )<=(?= )", "<"),
        (r"(?<= )>(?= )", ">="),
        (r"(?<= )>=(?= )", ">"),
        (r"\bdesc\b", "asc"),
        (r"\bmin(?=\()", "max"),
        (r"\bmax(?=\()", "min"),
        (r"\bunion all\b", "union"),
        (r"\bif (not )?exists\b", ""),
    )
]
# Without a call of one of these the code is a type error, or does the same.
_NEVER_UNWRAPPED = {"len", "range", "iter", "next", "enumerate", "zip", "super", "list", "tuple", "set", "dict"}
_NEVER_UNWRAPPED |= {"TypeVar"}
_UNWRAPPED_METHODS = {"replace", "removesuffix", "removeprefix", "strip", "rstrip", "lstrip", "lower", "upper"}


@dataclass(frozen=True, order=True)
class Mutant:
    """One change: the bytes from `start` to `end` become `text`; `line` counts from 1."""

    start: int
    end: int
    text: str
    kind: str
    line: int

    def applied(self, source: str) -> str:
        """Return the source with the change."""
        data = source.encode()
        return (data[: self.start] + self.text.encode() + data[self.end :]).decode()

    def described(self, source: str) -> str:
        """Return the change as one line for people."""
        before = source.encode()[self.start : self.end].decode()
        return f"{self.kind}: {_shortened(before)} -> {_shortened(self.text) or 'nothing'}"


def mutants_of(source: str) -> list[Mutant]:
    """Return every mutant of a module that compiles, in the order of the source."""
    found = sorted(set(_Finder(source).mutants(ast.parse(source))))
    return [mutant for mutant in found if _compiles(mutant.applied(source))]


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 70 else f"{text[:34]} … {text[-33:]}"


class _Finder:
    def __init__(self, source: str) -> None:
        self._data = source.encode()
        self._line_starts = [0]
        for line in self._data.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._ways: dict[tuple[type[ast.AST], ...], Callable[[Any], Iterator[Mutant]]] = {
            (ast.BoolOp, ast.Compare, ast.BinOp): self._operators,
            (ast.UnaryOp,): self._negation,
            (ast.If, ast.IfExp, ast.While): self._condition,
            (ast.comprehension,): self._filter,
            (ast.Constant,): self._constant,
            (ast.List, ast.Tuple, ast.Set, ast.Dict): self._shorter,
            (ast.Call,): self._call,
            (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Return): self._statement,
        }

    def mutants(self, node: ast.AST) -> Iterator[Mutant]:
        """Yield the mutants of a node and of all nodes below it, except changes that no test can or should notice.

        These are annotations, docstrings, decorators, assertions (they narrow types) and the parts of f-strings, whose
        positions older Pythons do not record.
        """
        if isinstance(node, (ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)):
            return
        yield from self._of_one(node)
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "slice"}:
                continue
            children = value if isinstance(value, list) else [value]
            if name == "body" and _has_docstring(node):
                children = children[1:]
            for child in children:
                if isinstance(child, ast.Tuple) and _is_unpacked(node):
                    for part in child.elts:  # a tuple that is too short is an obvious error
                        yield from self.mutants(part)
                elif isinstance(child, ast.AST):
                    yield from self.mutants(child)

    def _of_one(self, node: ast.AST) -> Iterator[Mutant]:
        for kinds, mutants in self._ways.items():
            if isinstance(node, kinds):
                yield from mutants(node)

    def _operators(self, node: ast.BoolOp | ast.Compare | ast.BinOp) -> Iterator[Mutant]:
        if isinstance(node, ast.BoolOp):
            for one, other in pairwise(node.values):
                yield from self._swap(node.op, one, other)
        elif isinstance(node, ast.Compare):
            for op, (one, other) in zip(node.ops, pairwise([node.left, *node.comparators]), strict=True):
                yield from self._swap(op, one, other)
        elif not (_is_text(node.left) or _is_text(node.right)):
            yield from self._swap(node.op, node.left, node.right)

    def _negation(self, node: ast.UnaryOp) -> Iterator[Mutant]:
        if isinstance(node.op, ast.Not):
            yield self._change(node, self._text(node.operand), "negation")

    def _condition(self, node: ast.If | ast.IfExp | ast.While) -> Iterator[Mutant]:
        if not isinstance(
            node.test, (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant)
        ):  # these conditions have mutants of their own
            yield self._change(node.test, f"not ({self._text(node.test)})", "condition")

    def _filter(self, node: ast.comprehension) -> Iterator[Mutant]:
        for condition in node.ifs:
            yield self._change(condition, "True", "filter")

    def _statement(self, node: ast.stmt) -> Iterator[Mutant]:
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call):
            return  # a docstring or a yield
        if isinstance(node, ast.Return) and node.value:
            return
        yield self._change(node, "pass", "statement")

    def _constant(self, node: ast.Constant) -> Iterator[Mutant]:
        if isinstance(node.value, bool):
            yield self._change(node, str(not node.value), "constant")
        elif isinstance(node.value, (int, float)):
            yield self._change(node, repr(node.value + 1), "constant")
        elif isinstance(node.value, str) and _IS_SQL.search(node.value):
            start, text = self._start(node), self._text(node)
            for pattern, other in _SQL_SWAPS:
                for found in pattern.finditer(text):
                    begin, end = (start + len(text[:place].encode()) for place in found.span())
                    yield Mutant(begin, end, other, "sql", self._data[:begin].count(b"\n") + 1)

    def _shorter(self, node: ast.List | ast.Tuple | ast.Set | ast.Dict) -> Iterator[Mutant]:
        if isinstance(node, ast.Dict):
            entries = [
                f"{self._text(key)}: {self._text(value)}" if key else f"**{self._text(value)}"
                for key, value in zip(node.keys, node.values, strict=True)
            ]
        elif isinstance(node, ast.Set) or isinstance(node.ctx, ast.Load):
            entries = [self._text(entry) for entry in node.elts]
        else:
            return
        if len(entries) < 2:
            return
        opening, closing = {ast.List: "[]", ast.Tuple: "()"}.get(type(node), "{}")
        for number, place in enumerate(node.values if isinstance(node, ast.Dict) else node.elts):
            others = "".join(f"{entry}, " for entry in _without(entries, number))
            yield self._change(node, f"{opening}{others}{closing}", f"without {_shortened(entries[number])}", place)

    def _call(self, node: ast.Call) -> Iterator[Mutant]:
        function, alone = node.func, len(node.args) == 1 and not node.keywords
        name = function.id if isinstance(function, ast.Name) else ""
        arguments = [self._text(each) for each in (*node.args, *node.keywords)]
        for number in range(0 if name == "suppress" else len(node.args), len(arguments)):
            others = ", ".join(_without(arguments, number))
            kind = f"without {_shortened(arguments[number])}"
            yield self._change(node, f"{self._text(function)}({others})", kind, (*node.args, *node.keywords)[number])
        if alone and name not in _NEVER_UNWRAPPED and not isinstance(node.args[0], (ast.Starred, ast.GeneratorExp)):
            yield self._change(node, f"({arguments[0]})", "call")
        if isinstance(function, ast.Attribute) and function.attr in _UNWRAPPED_METHODS:
            yield self._change(node, f"({self._text(function.value)})", "call")

    def _swap(self, op: ast.AST, one: ast.expr, other: ast.expr) -> Iterator[Mutant]:
        if type(op) not in _SWAPS:
            return
        pattern, text = _SWAPS[type(op)]
        begin, end = self._end(one), self._start(other)
        if found := re.search(pattern, self._data[begin:end].decode()):
            start = begin + found.start()
            line = self._data[:start].count(b"\n") + 1
            yield Mutant(start, begin + found.end(), text, "operator", line)

    def _change(self, node: ast.AST, text: str, kind: str, place: ast.AST | None = None) -> Mutant:
        return Mutant(self._start(node), self._end(node), text, kind, getattr(place or node, "lineno", 0))

    def _text(self, node: ast.AST) -> str:
        return self._data[self._start(node) : self._end(node)].decode()

    def _start(self, node: ast.AST) -> int:
        assert isinstance(node, (ast.expr, ast.stmt, ast.keyword))
        return self._line_starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.AST) -> int:
        assert isinstance(node, (ast.expr, ast.stmt, ast.keyword))
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._line_starts[node.end_lineno - 1] + node.end_col_offset


def _has_docstring(node: ast.AST) -> bool:
    return isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None


def _is_unpacked(node: ast.AST) -> bool:
    return isinstance(node, ast.Return) or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))


def _without(entries: Sequence[str], number: int) -> Iterable[str]:
    return (entry for place, entry in enumerate(entries) if place != number)
