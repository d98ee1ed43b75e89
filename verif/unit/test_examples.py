"""The examples: each runs from the repository's root, is short, and prints what it should."""

import ast
import os
import subprocess
import sys

import pytest

import tegula_sw
from verif import ROOT
from verif.support.marks import slow_params

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MAX_LINES = 39

OUTPUTS = {
    "assembly": """\
288 bytes, 8 instructions, trap: None
max(A @ B, 0) =
[[10.  0.  7.  0.]
 [ 2.  0.  3.  0.]
 [ 0.  4.  0.  0.]
 [ 0. 12.  0.  4.]]
as numpy has it: True
""",
    "gemm": """\
(40 x 100) @ (100 x 30) on GoldenDevice of preset tiny
   bf16: relative error 2.38e-03, 4828 + 600 beats
 e4m3fn: relative error 3.80e-02, 2936 + 600 beats
   e5m2: relative error 7.42e-02, 3371 + 600 beats
""",
    "kernel": """\
27 instructions; softmax of the first two rows:
0.0105 0.0005 0.0346 0.0047 0.9498
0.1977 0.0071 0.3325 0.4441 0.0186
largest error 1.5e-03: x and w are rounded to bf16
""",
    "training": "epoch 2: 88.3% of the test samples are right\n",
    "verilog": "top tegula_example\nwhat cannot be built is refused: sbuf_depth must be",
}
"""What each prints, or the part of it that says that it did its work."""

SLOW = ("verilog",)
"""Elaborates a tile of its own."""


def run_example(name, *arguments):
    """Standard output of an example that must succeed and say nothing else."""
    folders = [str(ROOT / part) for part in ("hw", "model", "sw")]
    run = subprocess.run(
        [sys.executable, f"examples/{name}.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_each_example_has_an_expectation():
    assert [path.stem for path in EXAMPLES] == sorted(OUTPUTS)


@pytest.mark.parametrize("name", [*sorted(OUTPUTS.keys() - SLOW), *slow_params(SLOW)])
def test_an_example_prints_what_it_computed(name):
    assert OUTPUTS[name] in run_example(name)


def test_the_product_runs_on_the_hardware_too():
    """The RTL gives the golden model's errors, and counts cycles besides."""
    lines = run_example("gemm", "rtl").splitlines()
    golden = OUTPUTS["gemm"].splitlines()
    assert lines[0] == golden[0].replace("GoldenDevice", "RtlDevice")
    for line, expected in zip(lines[1:], golden[1:], strict=True):
        assert line.partition(",")[0] == expected.partition(",")[0]
        assert line.endswith("% of the array")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_use_the_public_interface_only(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module]
            if node.module == "tegula_sw":
                assert {alias.name for alias in node.names} <= set(tegula_sw.__all__)
        for module in modules:
            top = module.partition(".")[0]
            assert module == "tegula_sw" or top == "numpy" or top in sys.stdlib_module_names
