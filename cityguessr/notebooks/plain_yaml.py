"""Parameter files in that part of YAML that everyone reads alike.

PyYAML, and papermill with it, reads YAML 1.1, where `010` is 8, `1:30` is 90 and `no` is False; YAML 1.2 and most
people read 10, text and text. What the two read differently is refused here, and so is what a list of names and values
has no use for: names that are given twice, references, tags.
"""

import os
import re
from typing import Any

import yaml

from cityguessr.base.errors import InputError
from cityguessr.base.tables import open_text

_MOST = 1_000_000  # characters
_LARGEST = 2**63
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)?\.[0-9]*([eE][-+]?[0-9]{1,3})?")
_BOOL = {"true": True, "false": False}


def load(path: str | os.PathLike[str]) -> Any:
    """What a YAML file holds: None, text, numbers, true and false, lists, and mappings from names.

    Raises InputError, naming file and line, for anything else.
    """
    with open_text(path) as file:
        text = file.read(_MOST + 1)
    if len(text) > _MOST:
        raise InputError(f"{path}: longer than {_MOST:,} characters; this is no parameter file")
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: {error.problem or error.context}; correct it") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())[:200]}; save it as plain text") from None
    except RecursionError:
        raise InputError(f"{path}: brackets within brackets, too deep; a parameter file has one level") from None


class _PlainLoader(yaml.SafeLoader):
    """A SafeLoader without references, tags of its own, repeated names, and scalars that are read in two ways."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.composer.ComposerError(None, None, "a reference (& or *); write the value out", event.start_mark)
        return super().compose_node(parent, index)

    def mapping(self, node: Any) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in node.value:
            key = self.construct_object(name, deep=True)
            if not isinstance(key, str):
                raise _problem(name, "a name is text; put it in quotes")
            if key in values:
                raise _problem(name, f"{key[:60]!r} is given twice; keep one of them")
            values[key] = self.construct_object(value, deep=True)
        return values

    def sequence(self, node: Any) -> list[Any]:
        return [self.construct_object(item, deep=True) for item in node.value]

    def whole(self, node: Any) -> int:
        text = self.construct_scalar(node)
        if not _INT.fullmatch(text) or not -_LARGEST <= int(text) < _LARGEST:
            raise _problem(
                node, f"{text[:40]!r} is a number of more than 19 digits, or one that YAML reads in two ways"
            )
        return int(text)

    def decimal(self, node: Any) -> float:
        text = self.construct_scalar(node)
        if not _FLOAT.fullmatch(text) or text.strip("+-") == "." or abs(float(text)) == float("inf"):
            raise _problem(node, f"{text[:40]!r} is no decimal number, or one that YAML reads in two ways")
        return float(text)

    def truth(self, node: Any) -> bool:
        text = self.construct_scalar(node)
        if text.lower() not in _BOOL:
            raise _problem(
                node, f"{text!r} is false, true or text, depending on the reader; write true, false or quotes"
            )
        return _BOOL[text.lower()]

    def refused(self, node: Any) -> Any:
        kind = str(node.tag).rsplit(":", 1)[-1]
        raise _problem(node, f"a {kind[:40]} is no parameter; if it is text, put it in quotes")


def _problem(node: Any, what: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


_PlainLoader.yaml_constructors = {
    "tag:yaml.org,2002:null": yaml.SafeLoader.construct_yaml_null,
    "tag:yaml.org,2002:str": yaml.SafeLoader.construct_yaml_str,
    "tag:yaml.org,2002:int": _PlainLoader.whole,
    "tag:yaml.org,2002:float": _PlainLoader.decimal,
    "tag:yaml.org,2002:bool": _PlainLoader.truth,
    "tag:yaml.org,2002:seq": _PlainLoader.sequence,
    "tag:yaml.org,2002:map": _PlainLoader.mapping,
    None: _PlainLoader.refused,
}
