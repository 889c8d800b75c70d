"""A small project with one trained run, made once for each file of tests that asks for it."""

from collections.abc import Iterator

import pytest
from support import make_release
from test_runs import TINY, ensure

from cityguessr.training import profiles
from cityguessr.training.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A tiny run of a project, trained on three cities at a profile of its own."""
    folder = tmp_path_factory.mktemp("project")
    make_release(folder / "release", clips=3, frames=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYGUESSR_ROOT", str(folder))
        patch.setitem(profiles.PROFILES, "tiny", TINY)
        yield ensure(folder)
