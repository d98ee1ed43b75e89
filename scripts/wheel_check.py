"""Build the wheel, install it beside nothing but what it declares, and multiply on the RTL with it.

Nothing is downloaded: packages that the wheel declares are linked from the environment that runs
this. The RTL is elaborated and compiled from scratch, in the cache folder of a user who has none.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import numpy as np
import platformdirs
from packaging.requirements import Requirement

from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import FAILED, exit_code

ROOT = Path(__file__).resolve().parents[1]
FOLDERS, FILES = ("hw", "model", "sw"), ("pyproject.toml", "README.md", "LICENSE")
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info")
GEMM = "gemm A.npy B.npy --preset tiny --format-a bf16 --format-b e4m3fn --format-out fp32"


def run(
    *command: str | Path,
    expected: int = 0,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """Run a command in a folder; what it prints.

    Raises
    ------
    RuntimeError
        If it ends with another code than `expected`.
    """
    run = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if run.returncode != expected:
        words = " ".join(map(str, command))
        raise RuntimeError(f"{words} ended with {run.returncode}: {run.stdout.strip()}")
    return run.stdout


def build_wheel(folder: Path) -> Path:
    """The wheel of a copy of the sources: setuptools would take up what an old build left."""
    source = folder / "source"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=IGNORED)
    for name in FILES:
        shutil.copy(ROOT / name, source)
    pip = sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"
    run(*pip, "--no-build-isolation", "--wheel-dir", folder, source)
    return next(folder.glob("*.whl"))


def closure(requirements: Iterable[str], extras: Iterable[str] = ("",)) -> list[Distribution]:
    """Installed distributions that requirements lead to.

    Raises
    ------
    RuntimeError
        If one is installed in a version that a requirement excludes.
    """
    found: dict[str, Distribution] = {}
    queue = [(Requirement(line), tuple(extras)) for line in requirements]
    while queue:
        requirement, extras = queue.pop()
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in extras):
            continue
        package = distribution(requirement.name)
        if not requirement.specifier.contains(package.version, prereleases=True):
            raise RuntimeError(f"{requirement} is wanted, but {package.version} is installed")
        key = f"{requirement.name.lower()} {sorted(requirement.extras)}"
        if key not in found:
            found[key] = package
            more = ("", *requirement.extras)
            queue += [(Requirement(line), more) for line in package.requires or ()]
    return list(found.values())


def link(packages: Iterable[Distribution], site: Path) -> None:
    """Make the files of packages visible in a folder of modules."""
    for package in packages:
        for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(str(package.locate_file(top)))


def check(folder: Path) -> None:
    """Build, install, run.

    Raises
    ------
    RuntimeError
        If something fails, or gives another result than it should.
    """
    wheel = build_wheel(folder)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    packages = closure(PathDistribution(next(site.glob("tegula-*.dist-info"))).requires or ())
    link(packages, site)
    print(f"wheel-check: {wheel.name} with {len(packages)} packages", flush=True)

    empty, home = folder / "empty", folder / "home"
    empty.mkdir()
    home.mkdir()
    paths = [path for path in os.get_exec_path() if not Path(path).resolve().is_relative_to(ROOT)]
    yowasp = platformdirs.user_cache_dir("YoWASP", appauthor=False)  # compiled WebAssembly
    environment = {
        "HOME": str(home),
        "PATH": os.pathsep.join(paths),
        "YOWASP_CACHE_DIR": os.environ.get("YOWASP_CACHE_DIR", yowasp),
    } | {name: os.environ[name] for name in ("CXX", "TMPDIR") if name in os.environ}
    tegula = partial(run, python.with_name("tegula"), folder=empty, environment=environment)

    rng = np.random.default_rng(1)
    for name, shape in (("A.npy", (12, 20)), ("B.npy", (20, 9))):
        np.save(empty / name, rng.standard_normal(shape).astype(np.float32))
    results = []
    for device in ("golden", "rtl"):
        started = time.monotonic()
        tegula(*GEMM.split(), "--device", device, "-o", f"{device}.npy")
        results.append(np.load(empty / f"{device}.npy").view(np.uint32))
        print(f"wheel-check: gemm on {device}: {time.monotonic() - started:.0f} s", flush=True)
    if results[0].shape != (12, 9) or not np.array_equal(*results):
        raise RuntimeError("the golden model and the RTL disagree")
    if not list(home.glob(".cache/tegula/rtl/tegula_tiny_*.so")):
        raise RuntimeError("the user's cache folder has no compiled tile")
    for extra, command in (
        ("plots", f"profile {GEMM.removeprefix('gemm')} --picture p.png"),
        ("training", "train digits"),
    ):
        message = tegula(*command.split(), expected=FAILED)
        if f"install 'tegula[{extra}]'" not in message or message.count("\n") != 1:
            raise RuntimeError(f"the extra {extra} is missing, and the message is: {message}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    ScriptParser("wheel-check", __doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        check(Path(name).resolve())
    print("wheel-check: works from an empty directory, and names the extras that are missing")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("wheel-check", main))
