"""The folded solutions of page 24 pass the checks of that page, in the page's own names."""

import re
from pathlib import Path

import nbformat
import torch
import torch.nn.functional as F

from cityguessr import practice
from cityguessr.taxonomy import LEVELS

PAGE = Path(__file__).parents[2] / "notebooks" / "24_build_it_yourself.ipynb"


def test_every_task_has_a_solution_that_passes() -> None:
    page = nbformat.read(PAGE, as_version=4)
    names = {"F": F, "torch": torch, "LEVELS": LEVELS, "tree": practice.clips()[1]}
    for cell in page.cells:
        for solution in re.findall(r"```python\n(.*?)```", cell.source, re.S):
            exec(solution, names)
    asked = re.findall(r'practice\.check\("(\w+)", (\w+)\)', "\n".join(cell.source for cell in page.cells))
    assert [step for step, _ in asked] == [*practice.STEPS]
    for step, function in asked:
        assert practice.check(step, names[function]).right, step


def test_the_page_is_kept_as_a_reader_finds_it() -> None:
    page = nbformat.read(PAGE, as_version=4)
    shown = [o["data"]["text/plain"] for c in page.cells if c.cell_type == "code" for o in c.outputs if "data" in o]
    assert sum("not written yet" in text for text in shown) == len(practice.STEPS)
