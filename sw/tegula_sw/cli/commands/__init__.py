"""Actions of the commands of `tegula`: one function each, named as the command."""

from tegula_sw.cli.commands.elementwise import cast, eval
from tegula_sw.cli.commands.predictions import predict
from tegula_sw.cli.commands.products import gemm, profile
from tegula_sw.cli.commands.texts import asm, disasm, info
from tegula_sw.cli.commands.training import train

__all__ = ["asm", "cast", "disasm", "eval", "gemm", "info", "predict", "profile", "train"]
