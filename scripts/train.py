"""Train on the digits on both devices at once, and compare every epoch's weights.

The run of `make train`: preset small, bf16, H = 64, B = 32, 20 epochs, SGD with momentum 0.9, lr
0.1. Results are in build/train.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import exit_code
from tegula_sw.cli.parser import make_parser
from tegula_sw.training.log import read_log

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "train"
DEVICES = ("rtl", "golden")


def start(device: str, more: Sequence[str]) -> subprocess.Popen[bytes]:
    """`tegula train` on a device; the RTL's progress is shown."""
    command = [sys.executable, "-m", "tegula_sw.cli", "train", "digits", "--device", device]
    command += ["--out", str(FOLDER / device), *more]
    if device == "rtl":
        return subprocess.Popen(command)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both; 0 if all hashes are equal."""
    parser = ScriptParser(
        "train", __doc__.splitlines()[0], epilog="Further options go to `tegula train`."
    )
    _, more = parser.parse_known_args(arguments)
    make_parser().parse_args(["train", "digits", *more])  # before the last run is removed
    shutil.rmtree(FOLDER, ignore_errors=True)
    started = time.monotonic()
    runs = {device: start(device, more) for device in DEVICES}
    seconds = {}
    for device, run in runs.items():
        _, errors = run.communicate()
        if run.returncode:
            for other in runs.values():
                other.terminate()
            sys.stderr.write((errors or b"").decode())  # the line of the RTL's run is there
            return run.returncode
        seconds[device] = time.monotonic() - started
    epochs = {device: read_log(FOLDER / device / "log.json")["epochs"] for device in DEVICES}
    hashes = {device: [epoch.sha256 for epoch in epochs[device]] for device in DEVICES}
    alike = sum(a == b for a, b in zip(*hashes.values(), strict=True))
    cycles = sum(epoch.cycles or 0 for epoch in epochs["rtl"])
    print(
        f"{alike} of {len(hashes['rtl'])} epochs have the same weights on both devices;"
        f" RTL {seconds['rtl']:.0f} s beside golden, {cycles:,} cycles of training,"
        f" pictures in {FOLDER.relative_to(ROOT)}"
    )
    return 0 if alike == len(hashes["rtl"]) else 1


if __name__ == "__main__":
    sys.exit(exit_code("train", main))
