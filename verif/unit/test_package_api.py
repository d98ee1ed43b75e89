"""The public interface: its examples, its names, and what an import costs."""

import ast
import doctest
import os
import pkgutil
import re
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

import tegula_sw
from tegula_sw import api
from verif import ROOT

SOURCE = (ROOT / "sw" / "tegula_sw" / "__init__.py").read_text()


@pytest.mark.parametrize(("module", "least"), [(tegula_sw, 28), (api, 11)])
def test_examples_of_the_documentation_run(module, least):
    failed, attempted = doctest.testmod(module)
    assert failed == 0
    assert attempted >= least


def test_each_function_has_an_example():
    for name in api.__all__:
        assert f"{name}(" in getattr(api, name).__doc__.partition("Examples")[2], name
        assert name in tegula_sw.__all__


def typed_names():
    """Names that a type checker finds, by the module that they are imported from."""
    block = next(node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_type_checkers_and_the_interpreter_see_the_same_names():
    homes = typed_names()
    assert sorted(homes) == sorted(tegula_sw.__all__)
    assert len(homes) > 25
    for name, module in homes.items():
        value = getattr(tegula_sw, name)
        assert value is getattr(import_module(module), name)
        assert f"`{name}`" in tegula_sw.__doc__ or f"tsw.{name}" in tegula_sw.__doc__, name
        assert name in dir(tegula_sw)
        assert name in getattr(sys.modules[module], "__all__", ()), name


def test_no_public_name_is_that_of_a_module():
    """The import of a module `tegula_sw.x` would replace the name `tegula_sw.x`."""
    modules = {module.name for module in pkgutil.iter_modules(tegula_sw.__path__)}
    assert "gemm" in modules
    assert not modules & set(tegula_sw.__all__)


def test_a_name_that_is_none_is_an_attribute_error():
    name = "wait"
    with pytest.raises(AttributeError, match="module 'tegula_sw' has no attribute 'wait'"):
        getattr(tegula_sw, name)


def test_the_import_brings_neither_numpy_nor_hdl():
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; before = set(sys.modules); import tegula_sw;"
        " print(*sorted(set(sys.modules) - before))"
    )
    folders = [str(ROOT / name) for name in ("hw", "model", "sw")]
    command = [sys.executable, "-c", code, *folders]
    new = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "tegula_sw" in new
    assert not {"numpy", "amaranth", "tegula", "tegula_golden"} & set(new)


def test_an_unknown_device_is_named():
    with pytest.raises(ValueError, match="device 'fpga' is unknown: it must be golden or rtl"):
        tegula_sw.open_device("fpga", "tiny")


def test_operands_may_be_codes_or_transposed():
    device = tegula_sw.open_device("golden", "tiny")
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((5, 9)), rng.standard_normal((9, 4))
    expected, report = tegula_sw.matmul(device, a, b, format_out="bf16")
    assert (report.shape, expected.dtype) == ((5, 4, 9), np.uint16)
    codes_a, codes_b = tegula_sw.to_codes(a, "bf16"), tegula_sw.to_codes(b, tegula_sw.BF16)
    found, _ = tegula_sw.matmul(
        device,
        np.ascontiguousarray(codes_a.T),
        np.ascontiguousarray(codes_b.T),
        format_out=tegula_sw.BF16,
        transpose_a=True,
        transpose_b=True,
    )
    np.testing.assert_array_equal(found, expected)


def test_evaluate_keeps_the_dtype():
    device = tegula_sw.open_device("golden", "tiny")
    x = np.float32([[1.5, -2.0]])
    np.testing.assert_array_equal(tegula_sw.evaluate(device, "neg", x), -x)
    patterns = tegula_sw.evaluate(device, "neg", x.view(np.uint32))
    np.testing.assert_array_equal(patterns, (-x).view(np.uint32))


def test_modules_that_the_golden_model_names_exist():
    document = import_module("tegula_golden").__doc__
    names = [line.strip("`") for line in document.splitlines() if line.startswith("`")]
    assert len(names) == 11
    for name in names:
        import_module(f"tegula_golden.{name}")


def test_modules_without_hdl_import_none():
    """What `tegula` says of its own modules."""
    document = import_module("tegula").__doc__
    names = re.findall(r"`(tegula\.\w+(?:\.\w+)?)`", document.partition("Verilog.")[2])
    names = [name for name in names if name != "tegula.backend"]
    assert len(names) == 6
    code = f"import sys; {'; '.join(f'import {name}' for name in names)}; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "hw")}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "amaranth" not in run.stdout.split()
    assert "tegula.isa" in run.stdout.split()


def test_a_strict_type_checker_sees_types_through_the_public_names(tmp_path):
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import numpy as np\nimport tegula_sw as tsw\n\n"
        "device = tsw.open_device('golden', 'tiny')\n"
        "c, report = tsw.matmul(device, np.eye(2), np.eye(2))\n"
        "reveal_type(report.utilisation)\n"
        "reveal_type(tsw.KernelBuilder(device.config).assemble())\n"
    )
    folders = [str(ROOT / name) for name in ("hw", "model", "sw")]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull]
    run = subprocess.run(
        [*command, "--follow-imports=silent", str(probe)],
        capture_output=True,
        text=True,
        env=os.environ | {"MYPYPATH": os.pathsep.join(folders)},
        cwd=tmp_path,
    )
    assert re.findall(r'Revealed type is "(.*)"', run.stdout) == ["float | None", "bytes"]
