"""Arguments and checks for tests of the command line."""

from tegula_sw.cli.exits import BAD_INPUT

__all__ = ["BF16_OUT", "COMMANDS", "FORMATS", "assert_error", "gemm_arguments"]

COMMANDS = ("gemm", "profile", "predict", "cast", "train", "eval", "info", "asm", "disasm")
BF16_OUT = ["--format-a", "bf16", "--format-b", "bf16", "--format-out", "bf16"]
FORMATS = " ".join(BF16_OUT)


def gemm_arguments(*more, a="A.npy", b="B.npy", formats=BF16_OUT):
    """`tegula gemm` of two files on the golden device, to C.npy."""
    return ["gemm", a, b, "-o", "C.npy", "--device", "golden", *formats, *more]


def assert_error(result, *words, code=BAD_INPUT, label="tegula"):
    """The exit code, nothing on stdout, one line that begins with `label` and has the words."""
    found, out, err = result
    assert (found, out) == (code, ""), err
    assert err.startswith(f"{label}")
    assert err.count("\n") == 1 and err.endswith("\n")
    for word in words:
        assert word in err
