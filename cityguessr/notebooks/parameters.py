"""The parameters of a notebook: typed literals in its first code cell, checked before anything runs.

A parameters cell holds one line per parameter, `seeds: list[int] = [0]  # one training run each`. papermill only warns
about a name that is not among them, and takes a value of any type. Both are errors in this project: `bind` raises them
for `python -m cityguessr.notebooks`, and `checking.check_parameters`, called in the next cell, for plain `papermill`
and for what a reader types in JupyterLab.
"""

import ast
import difflib
import os
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.base.tables import read_json
from cityguessr.notebooks.plain_yaml import load
from cityguessr.training.seeds import check_seed

LARGEST = 2**63  # what JSON, NumPy and torch have room for
_INT = re.compile(r"[-+]?[0-9]{1,19}")
_FLOAT = re.compile(r"[-+]?([0-9]{1,19}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][-+]?[0-9]{1,3})?")
NULL = ("null", "Null", "NULL", "~", "None")
INJECTED = "# Parameters"  # how the cell that papermill injects begins


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `name: type = default  # comment`."""

    name: str
    type: Any
    default: Any
    comment: str

    def __str__(self) -> str:
        return f"{self.name}: {type_name(self.type)} = {self.default!r}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that the comment lists (`mini | world68k`, also after a colon or before a comma); or none."""
        listed = re.fullmatch(r"(?:[^|:]+: )?(\w+(?: \| \w+)+)(?:, .*)?", self.comment)
        return tuple(listed[1].split(" | ")) if listed else ()

    @property
    def least(self) -> float | None:
        """The least number that the comment allows (`at least 1`, `counted from 0`); None where it names none."""
        found = re.search(r"\b(?:at least|counted from) (\d+(?:\.\d+)?)", self.comment)
        return float(found[1]) if found else None


def type_name(kind: Any) -> str:
    """A parameter's type as one writes it: `list[int]`, `str | None`."""
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)


# Every type a parameter may have, by the way it is written.
TYPES = {type_name(kind): kind for kind in (str, int, float, bool, list[str], list[int], list[float])}
TYPES |= {f"{name} | None": kind | None for name, kind in TYPES.items()}


def fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of the type `kind`. A whole number is a float; True, False, NaN and infinity are neither."""
    if isinstance(kind, types.UnionType):
        return any(fits(value, part) for part in typing.get_args(kind))
    if typing.get_origin(kind) is list:
        return isinstance(value, list) and all(fits(item, typing.get_args(kind)[0]) for item in value)
    if kind in (int, float) and isinstance(value, bool):
        return False
    if isinstance(value, int | float) and not -LARGEST < value < LARGEST:  # nor is NaN
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def from_text(text: str, kind: Any) -> Any:
    """A value typed on a command line, as `kind`: `0,1,2` or `[0,1,2]` for a list, `null` for None where that may be.

    Raises ValueError where the text does not read as that type.
    """
    if isinstance(kind, types.UnionType):
        part = next(part for part in typing.get_args(kind) if part is not types.NoneType)
        return None if text.strip() in NULL else from_text(text, part)
    if typing.get_origin(kind) is list:
        items = text.strip().removeprefix("[").removesuffix("]").split(",")
        return [from_text(item.strip().strip("'\""), typing.get_args(kind)[0]) for item in items if item.strip()]
    if kind is bool:
        if text.strip().lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.strip().lower() == "true"
    if kind in (int, float) and not (_INT if kind is int else _FLOAT).fullmatch(text.strip()):
        raise ValueError(f"{text[:60]!r} is no number")
    return kind(text)


def unknown(name: str, known: Mapping[str, Any], where: str) -> InputError:
    """The error for a name that is not among the `known` ones of the notebook(s) called `where`."""
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    return InputError(f"{where} has no parameter {name!r}.{meant} Its parameters: {', '.join(known) or 'none'}.")


def wrong(name: str, value: Any, kind: Any, where: str) -> InputError:
    """The error for a value that is not of its parameter's type."""
    example = {list: "-y '{name}: [0, 1]'", types.UnionType: "-p {name} None, or -y '{name}: null'"}
    remedy = example.get(typing.get_origin(kind) or type(kind), "")
    remedy = f" With plain papermill write {remedy.format(name=name)}." if remedy else ""
    return InputError(f"{where}: parameter {name} must be {type_name(kind)}, and {_shown(value)} is not.{remedy}")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python prints no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:80]}..."


def check_value(name: str, value: Any, line: Parameter | None, where: str) -> None:
    """Refuse, before anything runs, a value that its page cannot use, as far as that is known before.

    These are a value that is not among the choices of the comment or below its least number, seeds that no training can
    have, and a video of one's own that is not there. How many clips or tracks there are, only a page's data knows.

    Args:
        line: the parameter, where it is known.

    Raises InputError.
    """
    choices, least = (line.choices, line.least) if line else ((), None)
    if least is not None and isinstance(value, int | float) and not isinstance(value, bool) and value < least:
        raise InputError(f"{where}: parameter {name} is {value!r}; it is at least {least:g}")
    if name == "video" and isinstance(value, str):
        from cityguessr.data import video  # most pages ask for none

        try:
            video.check(value)
        except InputError as error:
            raise InputError(f"{where}: parameter video: {error}") from None
    if isinstance(value, str) and choices and value not in choices:
        raise InputError(f"{where}: {name} is {value!r}; it is one of {', '.join(choices)}")
    if name == "seeds" and isinstance(value, list) and (not value or len(set(value)) < len(value)):
        raise InputError(f"{where}: parameter seeds is {_shown(value)}; give one or more, each once")
    for seed in value if isinstance(value, list) else [value]:
        if name in ("seed", "seeds") and isinstance(seed, int):
            try:
                check_seed(seed)
            except InputError as error:
                raise InputError(f"{where}: parameter {name}: {error}") from None


def declared(notebook: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, by name, from its cell tagged `parameters`.

    Raises InputError unless there is exactly one such cell, and each line in it is a typed literal.
    """
    cells = read_json(notebook, nan=True).get("cells", [])
    try:
        tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (TypeError, KeyError, AttributeError):
        raise InputError(f"{notebook.name}: not a notebook (no cells with source and metadata); save it anew") from None
    if len(tagged) != 1:
        raise InputError(f"{notebook.name}: {len(tagged)} cells are tagged `parameters`; tag one, the first code cell")
    lines = tagged[0].splitlines()
    parameters = {}
    try:
        nodes = ast.parse(tagged[0]).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InputError(f"{notebook.name}: parameters cell: {error}; write lines of name: type = value") from None
    for node in nodes:
        line = lines[node.end_lineno - 1] if node.end_lineno else ""
        try:
            parameter = parameter_of(node, line)
        except ValueError as error:
            raise InputError(f"{notebook.name}: parameters cell, {line.strip()!r}: {error}") from error
        parameters[parameter.name] = parameter
    return parameters


def parameter_of(node: ast.stmt, line: str) -> Parameter:
    """A statement of a parameters cell that ends on `line`. Raises ValueError where it is no typed literal."""
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
        raise ValueError("not of the form name: type = value")
    kind = TYPES.get(ast.unparse(node.annotation))
    default = ast.literal_eval(node.value)
    if kind is None:
        raise ValueError(f"its type must be one of {', '.join(TYPES)}")
    if not fits(default, kind):
        raise ValueError(f"{default!r} is not {type_name(kind)}")
    comment = line.encode()[node.end_col_offset :].decode().partition("#")[2]  # ast counts bytes
    return Parameter(node.target.id, kind, default, comment.strip())


def read_parameters(file: Path) -> dict[str, Any]:
    """The names and values of a papermill parameter file (YAML). Raises InputError where it holds anything else."""
    values = load(file)
    if values is None:  # nothing but comments
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{file}: a parameter file holds lines of the form name: value")
    return values


def bind(notebook: Path, values: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of one notebook, checked against its declaration.

    Args:
        values: name -> value with a type, as from YAML.
        texts: name -> value as typed on a command line.

    Raises InputError for a name that the notebook does not declare, for a value that does not fit its type, and as
    `check_value` does.
    """
    known, bound = declared(notebook), {}
    for name, value in [*values.items(), *texts.items()]:
        if name not in known:
            raise unknown(name, known, notebook.stem)
        kind = known[name].type
        # YAML reads 1e-3 as text: what was typed and what YAML took for text go the same way.
        if isinstance(value, str) and (name in texts or not fits(value, kind)):
            try:
                value = from_text(value, kind)
            except ValueError:
                raise wrong(name, value, kind, notebook.stem) from None
        if not fits(value, kind):
            raise wrong(name, value, kind, notebook.stem)
        check_value(name, value, known[name], notebook.stem)
        # a page runs in the project's root, wherever the command was given
        bound[name] = os.fspath(paths.found(value)) if name == "video" and isinstance(value, str) else value
    return bound
