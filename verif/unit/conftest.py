"""Fixtures that several tests share."""

import io
import resource
from contextlib import redirect_stderr

import numpy as np
import pytest
from hypothesis import settings

from tegula.config import preset
from tegula_sw.cli.parser import main
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.profile.recording import Recorder

# No test is about time, and a crowded machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty directory, where the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Run a command in an empty directory: (exit code, standard output, standard error)."""

    def run_command(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


@pytest.fixture
def matrices(folder):
    """Patterns of A.npy (5 x 9) and B.npy (9 x 4), which are float32."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 9)).astype(np.float32)
    b = rng.standard_normal((9, 4)).astype(np.float32)
    np.save(folder / "A.npy", a)
    np.save(folder / "B.npy", b)
    return a.view(np.uint32), b.view(np.uint32)


@pytest.fixture(scope="session")
def traced_tile():
    """The traced tile `tiny` is compiled, so that no command has a line about that to print."""
    with redirect_stderr(io.StringIO()):
        RtlDevice(preset("tiny"), recorder=Recorder()).close()


@pytest.fixture
def limit_file_size():
    """Makes files of more than so many bytes impossible, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
