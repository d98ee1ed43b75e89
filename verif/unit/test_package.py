"""The package: its bounds, its extras, and what is said where an extra is missing."""

import sys
import tomllib
from importlib.metadata import version

import numpy as np
import pytest
from packaging.requirements import Requirement

from tegula_sw.cli.exits import FAILED
from tegula_sw.files.extras import EXTRAS, require_extra
from verif import ROOT
from verif.support.cli_bench import BF16_OUT, assert_error

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRA_REQUIREMENTS = {
    extra: [Requirement(line) for line in lines]
    for extra, lines in PROJECT["optional-dependencies"].items()
}
REQUIREMENTS = [
    *(Requirement(line) for line in PROJECT["dependencies"]),
    *(one for lines in EXTRA_REQUIREMENTS.values() for one in lines if one.name != "tegula"),
]
MODULES = {"scikit-learn": "sklearn"}
"""Modules that are not called as their distribution."""


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda one: one.name)
def test_dependencies_are_bounded_on_both_sides_and_admit_what_is_tested(requirement):
    operators = {specifier.operator for specifier in requirement.specifier}
    assert operators == {">=", "<"}
    assert requirement.specifier.contains(version(requirement.name))


def test_pinned_versions_are_those_that_are_installed():
    lines = (ROOT / "scripts" / "requirements.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len(pins) > 30
    for pin in pins:
        assert str(pin.specifier) == f"=={version(pin.name)}", pin.name
    missing = {one.name for one in REQUIREMENTS} - {pin.name for pin in pins}
    assert not missing


def modules(extra):
    """Modules that an extra brings, those of extras within it included."""
    found = set()
    for requirement in EXTRA_REQUIREMENTS[extra]:
        if requirement.name == "tegula":
            found = found.union(*(modules(inner) for inner in requirement.extras))
        else:
            found.add(MODULES.get(requirement.name, requirement.name))
    return found


def test_extras_are_those_that_the_software_names():
    assert {extra: tuple(sorted(modules(extra))) for extra in EXTRA_REQUIREMENTS} == EXTRAS


def test_an_extra_that_is_there_is_no_error():
    for extra in EXTRAS:
        require_extra(extra, "this test")


@pytest.fixture
def lacking(monkeypatch):
    """Makes modules look as if they were not installed."""

    def hide(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

        def find_spec(name):
            return None if name in names else object()

        monkeypatch.setattr("tegula_sw.files.extras.find_spec", find_spec)

    return hide


def test_a_picture_without_matplotlib_names_its_extra(run, matrices, lacking):
    lacking("matplotlib")
    result = run("profile", "A.npy", "B.npy", *BF16_OUT, "--picture", "p.png")
    message = "tegula profile: a picture needs matplotlib: install 'tegula[plots]'"
    assert_error(result, message, code=FAILED, label=message)


def test_training_names_its_extra_before_it_begins(run, folder, lacking):
    lacking("sklearn", "tqdm")
    result = run("train", "digits", "--device", "rtl")
    message = "tegula train: training needs sklearn, tqdm: install 'tegula[training]'"
    assert_error(result, message, code=FAILED, label=message)
    assert not list(folder.iterdir())


def test_a_product_needs_no_extra(run, matrices, folder, lacking):
    lacking(*(name for names in EXTRAS.values() for name in names))
    arguments = ["A.npy", "B.npy", "-o", "C.npy", "--device", "golden", *BF16_OUT]
    assert run("gemm", *arguments)[0] == 0
    assert np.load(folder / "C.npy").shape == (5, 4)
