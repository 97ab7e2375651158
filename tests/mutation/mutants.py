"""The faults: every place of a file where a number, an operator, a condition or a name could be another one.

Not mutated, because no test should hold them: docstrings and the wording of messages, annotations, imports, what only
the type checker reads, decorators (``frozen=True``), and what guards against slips of our own: `assert`, and the
`strict` of `zip`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.MatMult: ("@", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"),
}
COMPARISONS = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
_PAIRS = (
    ("min", "max"),
    ("amin", "amax"),
    ("argmin", "argmax"),
    ("minimum", "maximum"),
    ("clamp_min", "clamp_max"),
    ("any", "all"),
    ("sum", "mean"),
    ("ceil", "floor"),
    ("zeros", "ones"),
    ("log", "exp"),
    ("rsqrt", "sqrt"),
    ("square", "abs"),
    ("triu", "tril"),
)
CALLED = {name: other for pair in _PAIRS for name, other in (pair, pair[::-1])}


@dataclass(frozen=True)
class Mutant:
    """One fault in one file.

    Attributes:
        line: Where it is, from 1.
        function: The function or class around it, "" for the module itself.
        before: The line as it is, stripped.
        after: The same with the fault.
        source: The whole file with the fault.
    """

    line: int
    function: str
    before: str
    after: str
    source: str


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a file, in the order of its lines."""
    found = {mutant.source: mutant for mutant in _Finder(source).mutants()}
    return sorted(found.values(), key=lambda mutant: mutant.line)


class _Finder:
    def __init__(self, source: str) -> None:
        # Columns of the syntax tree count bytes.
        self._lines = [line.encode() for line in source.splitlines(keepends=True)]
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        self._bytes = source.encode()
        self._tree = ast.parse(source)

    def mutants(self) -> Iterator[Mutant]:
        for function, start, stop, text in self._faults(self._tree, ""):
            line = self._bytes.count(b"\n", 0, start)
            mutated = self._bytes[:start] + text.encode() + self._bytes[stop:]
            after = mutated.split(b"\n")[line].strip().decode()
            yield Mutant(line + 1, function, self._lines[line].strip().decode(), after, mutated.decode())

    def _faults(self, node: ast.AST, function: str) -> Iterator[tuple[str, int, int, str]]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".strip(".")
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        for start, stop, text in self._own(node):
            yield function, start, stop, text
        for child in _mutable_children(node):
            yield from self._faults(child, function)

    def _own(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.Constant():
                yield from self._constant(node)
            case ast.BinOp():
                old, new = OPERATORS[type(node.op)]
                yield self._between(node.left, node.right, old, new)
            case ast.AugAssign():
                old, new = OPERATORS[type(node.op)]
                yield self._between(node.target, node.value, old + "=", new + "=")
            case ast.Compare():
                for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                    old, others = COMPARISONS[type(op)]
                    for new in others:
                        yield self._between(left, right, old, new)
                    for side in (left, right):
                        if isinstance(side, ast.Constant) and isinstance(side.value, str):
                            yield self._replaced(side, repr(side.value + "x"))
            case ast.BoolOp():
                old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield self._between(left, right, old, new)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
                yield self._replaced(node, self._text(node.operand))
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                yield from self._negated(test)
            case ast.comprehension():
                for test in node.ifs:
                    yield from self._negated(test)
            case ast.Call(func=ast.Name(id=name) as called) if name in CALLED:
                yield self._replaced(called, CALLED[name])
            case ast.Call(func=ast.Attribute(attr=name) as called) if name in CALLED:
                stop = self._at(called.end_lineno, called.end_col_offset)
                yield stop - len(name), stop, CALLED[name]
            case ast.Slice():
                for part in (node.lower, node.upper):
                    if part is not None:
                        yield self._replaced(part, "")
            case ast.Dict():
                for key in node.keys:
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield self._replaced(key, repr(key.value + "x"))
            case ast.Raise() | ast.Expr(value=ast.Call()):
                yield self._replaced(node, "pass")
            case ast.Break():
                yield self._replaced(node, "continue")
            case ast.Continue():
                yield self._replaced(node, "break")
            case _:
                pass

    def _negated(self, test: ast.expr) -> Iterator[tuple[int, int, str]]:
        # Other rules do this to a comparison and to `not`.
        if not isinstance(test, ast.Compare | ast.UnaryOp):
            yield self._replaced(test, f"(not ({self._text(test)}))")

    def _constant(self, node: ast.Constant) -> Iterator[tuple[int, int, str]]:
        value = node.value
        if isinstance(value, bool):
            yield self._replaced(node, str(not value))
        elif isinstance(value, int):
            for other in (value + 1, value - 1) if value else (1,):
                yield self._replaced(node, str(other))
        elif isinstance(value, float):
            # Numbers this small guard a division or end a loop; that they are some other small number matters to none.
            others = (1.0,) if not value else (1000 * value,) if abs(value) < 1e-5 else (4 * value, value / 4)
            for other in others:
                yield self._replaced(node, repr(other))

    def _between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> tuple[int, int, str]:
        """The operator between two operands, found behind the first and its brackets."""
        first, last = self._at(left.end_lineno, left.end_col_offset), self._at(right.lineno, right.col_offset)
        start = first + self._bytes[first:last].index(old.encode())
        return start, start + len(old), new

    def _replaced(self, node: ast.expr | ast.stmt, text: str) -> tuple[int, int, str]:
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset), text

    def _text(self, node: ast.expr) -> str:
        start, stop, _ = self._replaced(node, "")
        return self._bytes[start:stop].decode()

    def _at(self, line: int | None, column: int | None) -> int:
        assert line is not None and column is not None
        return self._starts[line - 1] + column


def _mutable_children(node: ast.AST) -> Iterator[ast.AST]:
    """What is below a node, without what is not mutated."""
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert | ast.Import | ast.ImportFrom):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params", "decorator_list"):
            continue
        if isinstance(node, ast.keyword) and node.arg == "strict":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
