"""Instructions of the vector engine."""

from tegula.isa.fields import Field, Instruction, one, partitions

__all__ = ["VECTOR"]

VECTOR = (
    Instruction(
        mnemonic="vector.sync",
        opcode=0x20,
        granules=1,
        doc="Only wait and signal; signals when all earlier vector instructions are complete.",
    ),
    Instruction(
        mnemonic="vector.copy",
        opcode=0x21,
        granules=1,
        doc=(
            "Read `columns` fp32 values of each partition from PSUM (rounded on reading) or from"
            " the scratchpad (two words each, low half first), cast them and write them to the"
            " scratchpad at `dst + i` (fp32: two words at `dst + 2 * i`)."
        ),
        payload=(
            Field(
                name="rows",
                offset=48,
                width=6,
                minimum=one,
                maximum=partitions,
                doc="partitions 0 .. rows - 1 are written",
            ),
            Field(name="format", offset=54, width=3, formats=True, fp32=True, doc="result format"),
            Field(
                name="source",
                offset=57,
                width=1,
                default=0,
                doc="0: PSUM; 1: fp32 in the scratchpad",
            ),
            Field(
                name="stochastic",
                offset=58,
                width=1,
                default=0,
                doc="0: round to nearest even; 1: round with the 16 random bits at `random + i`",
            ),
            Field(
                name="saturate",
                offset=59,
                width=1,
                default=0,
                doc="1: fp8 overflow and infinities become the largest finite number",
            ),
            Field(name="src", offset=64, width=16, doc="PSUM or scratchpad address, words"),
            Field(name="dst", offset=80, width=16, doc="scratchpad address of the results, words"),
            Field(
                name="columns",
                offset=96,
                width=16,
                minimum=one,
                doc="values of each partition",
            ),
            Field(
                name="random",
                offset=112,
                width=16,
                default=0,
                doc="scratchpad address of the random bits, words (used if `stochastic`)",
            ),
        ),
    ),
)
