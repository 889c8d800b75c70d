"""What a page does first: check its parameters, say where they are not those of its text, and stop in good order.

`notebooks.check_parameters(globals())` is the first statement after a notebook's parameters cell, and the same in
JupyterLab, papermill and nbval.
"""

import ast
import contextlib
import difflib
import functools
import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.notebooks import kernel
from cityguessr.notebooks.parameters import (
    INJECTED,
    NULL,
    TYPES,
    Parameter,
    check_value,
    declared,
    fits,
    parameter_of,
    unknown,
    wrong,
)

_WHERE = "this notebook"
_SAME = {"data_root", "msls_root", "allow_downloads", "cluster", "workers", "device", "video"}
"""Parameters that a page's text does not depend on: where and how something is computed, and a reader's own video."""

_SEEDS = re.compile(r"the outputs kept here hold seeds (\d+) to (\d+)")


def check_parameters(namespace: Mapping[str, Any]) -> None:
    """Check what this notebook's parameters are, as declared in its parameters cell, typed there, or injected.

    Where they differ from those of the kept outputs, which the page's text describes, a line below the cell says so,
    unless it is these outputs that are made.
    From then on an interrupted cell of this kernel ends with one sentence.

    Raises InputError, before anything runs, for a name that is not declared, a value of another type, and one that
    `parameters.check_value` refuses.
    """
    kernel.prepare()
    annotations = namespace.get("__annotations__")
    if annotations is None:  # Python 3.14 keeps a function that makes them
        annotations = namespace.get("__annotate__", lambda _: {})(1)
    cells = [cell for cell in namespace.get("In", ()) if "check_parameters(" not in cell]
    typed = next((cell for cell in reversed(cells) if _declares(cell)), "")
    lines = {line.name: line for line in _lines(typed)}
    known = lines or annotations
    for cell in [typed, *(cell for cell in cells if cell.startswith(INJECTED))]:
        for name in _assigned(cell):
            if name not in known and not name.startswith(("PAPERMILL_", "_")):
                raise unknown(name, known, _WHERE)
    _check_spelling(lines)
    for name, kind in annotations.items():
        value = namespace.get(name)
        if kind in TYPES.values():
            if not fits(value, kind) or (value in NULL and fits(None, kind)):
                raise wrong(name, value, kind, _WHERE)
            check_value(name, value, lines.get(name), _WHERE)
    if lines and not paths.keeping() and (note := difference({name: namespace.get(name) for name in lines}, lines)):
        kernel.show(note)


def _check_spelling(lines: Mapping[str, Parameter]) -> None:
    """Refuse a parameters cell that is a page's but for one name, and that one much like the page's own."""
    for page in _pages():
        own, others = lines.keys() - page.keys(), page.keys() - lines.keys()
        if len(own) == len(others) == 1 and difflib.get_close_matches(min(own), others):
            raise unknown(min(own), page, _WHERE)


class Note(str):
    """A sentence that a page shows between its cells, apart from what they print."""

    def _repr_html_(self) -> str:
        look = "border-left:3px solid currentColor;padding:.2em .8em;margin:.3em 0;opacity:.8;max-width:60em;"
        return f'<div style="{look}">{html.escape(self)}</div>'

    def __repr__(self) -> str:
        return str(self)


def difference(values: Mapping[str, Any], lines: Mapping[str, Parameter]) -> Note | None:
    """A sentence on the parameters that are not those of the page's kept outputs; None where all are, or it is unknown.

    Args:
        values: name -> value, of every parameter of the page.
        lines: its parameters cell, whose comment says of which seeds the outputs are kept.
    """
    kinds = [(line.name, line.type) for line in lines.values()]
    alike = [page for page in _pages() if [(line.name, line.type) for line in page.values()] == kinds]
    found = [_differing(values, lines, page) for page in alike]  # one of them is this page
    if not found or not (names := min(found, key=len)):
        return None
    kept = ", ".join(text for text, _ in names)
    here = ", ".join(text for _, text in names)
    return Note(
        f"The text of this page describes its kept outputs ({kept}). You run it with {here}: your numbers may differ, "
        "the text stays the same."
    )


def _differing(
    values: Mapping[str, Any], lines: Mapping[str, Parameter], page: Mapping[str, Parameter]
) -> list[tuple[str, str]]:
    """(kept, here) in words, of each parameter that differs from those of a page's kept outputs."""
    names = []
    for name in (name for name in lines if name not in _SAME):
        kept: Any = page[name].default
        words = f"{name} = {kept!r}"
        if seeds := kept_seeds(lines[name]):
            kept, words = list(seeds), f"seeds {seeds[0]} to {seeds[-1]}"
        if values[name] != kept:
            names.append((words, f"{name} = {values[name]!r}"))
    return names


def kept_seeds(parameter: Parameter) -> range | None:
    """The seeds whose outputs are kept on a page, as the comment of its parameter says; None where it does not."""
    match = _SEEDS.search(parameter.comment)
    return range(int(match[1]), int(match[2]) + 1) if match else None


def _pages() -> Iterator[dict[str, Parameter]]:
    """The parameters of each notebook of the project or, where its root is a folder for runs alone, of the clone."""
    folder = paths.root() / "notebooks"
    if not folder.is_dir() and (home := paths.clone()):
        folder = home / "notebooks"
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        with contextlib.suppress(InputError, OSError):  # one that is being written elsewhere
            yield _page(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _page(path: Path, changed: int) -> dict[str, Parameter]:
    """The parameters of a notebook that was last changed then."""
    return declared(path)


class _Cell(NamedTuple):
    body: list[ast.stmt]
    lines: list[str]


def _parse(source: str) -> _Cell:
    """The statements of a cell as IPython keeps it, its magics already turned into calls."""
    try:
        return _Cell(ast.parse(source).body, source.splitlines())
    except (SyntaxError, ValueError):  # it did not run either
        return _Cell([], [])


def _declares(source: str) -> bool:
    """Whether a cell has a typed parameter."""
    return any(isinstance(x, ast.AnnAssign) and ast.unparse(x.annotation) in TYPES for x in _parse(source).body)


def _assigned(source: str) -> Iterator[str]:
    """The names that a cell's statements assign to, without the annotated ones."""
    for node in _parse(source).body:
        for target in getattr(node, "targets", ()):
            yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def _lines(source: str) -> Iterator[Parameter]:
    """The parameters of a cell as they were typed; what is no typed literal is left out."""
    cell = _parse(source)
    for node in cell.body:
        try:
            yield parameter_of(node, cell.lines[(node.end_lineno or 1) - 1])
        except ValueError:
            continue
