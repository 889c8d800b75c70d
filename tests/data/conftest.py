"""A tiny release and its prepared set, for the tests of data."""

import pytest
from support import SMALL, make_release

from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> ReleaseSource:
    """Three cities with four clips each."""
    return ReleaseSource(make_release(tmp_path_factory.mktemp("world")))


@pytest.fixture(scope="session")
def prepared(source: ReleaseSource, tmp_path_factory: pytest.TempPathFactory) -> PreparedClips:
    """The set of `source`, in three shards."""
    return prepare(source, tmp_path_factory.mktemp("prepared") / "tiny", shard_clips=5, **SMALL)
