"""Blocks that scripts.mx_vectors draws, and what it says where torchao is missing."""

import numpy as np
import pytest

from scripts import mx_vectors
from tegula.formats import MXFP8_E4M3
from verif.oracles.mx_torchao import RECORDED
from verif.stimuli.mx import edge_blocks


def test_as_many_blocks_are_drawn_as_are_asked_for():
    batches = list(mx_vectors.drawn(45_000, MXFP8_E4M3, 3))
    assert np.array_equal(batches[0], edge_blocks(3))
    assert [len(batch) for batch in batches[1:]] == [20_000, 20_000, 5_000]


def test_missing_packages_are_named(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(mx_vectors.importlib, "import_module", missing)
    with pytest.raises(ValueError, match="must be installed: No module named 'torch'"):
        mx_vectors.Torchao()


def test_recorded_answers_are_small():
    assert RECORDED.stat().st_size < 200_000
