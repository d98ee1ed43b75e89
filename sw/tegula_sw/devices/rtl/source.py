"""Verilog of a tile as the simulator compiles it."""

import re

__all__ = ["register_reset"]

_REGISTER = "  reg rst_registered = 1'b1;\n  always @(posedge clk) rst_registered <= rst;\n"


def register_reset(verilog: str, top: str) -> str:
    """Verilog in which the instances in module `top` get their reset from a register.

    Next states depend on the reset. Where it is a port, Verilator evaluates what depends on it
    again in each call of `eval`, twice a cycle; behind a register, once, when the clock rises.
    Reset then begins and ends a cycle later; the register is 1 at power-up.

    Parameters
    ----------
    verilog
        From `tegula.backend.verilog`.
    top
        Its top module, with ports `clk` and `rst`. Where no instance in it has a reset, nothing
        changes.
    """
    module = re.search(rf"^module {top}\(.*?(?=^endmodule)", verilog, re.M | re.S)
    if module is None or ".rst(rst)" not in module[0]:
        return verilog
    body = module[0].replace(".rst(rst)", ".rst(rst_registered)")
    body = re.sub(r"^  wire rst;\n", rf"\g<0>{_REGISTER}", body, count=1, flags=re.M)
    return verilog[: module.start()] + body + verilog[module.end() :]
