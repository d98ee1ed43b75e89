"""The golden model of Tegula: numpy on integers, free of HDL, usable on its own.

`numerics.codes`
    Codes to values, and to the significands and exponents that the array multiplies.
`numerics.cast`
    fp32 to any format, to nearest even or stochastically, saturating or not.
`numerics.partial_sums`
    PSUM words, and their reading as fp32.
`numerics.accumulate`
    One matmul instruction: products added to partial sums.
`numerics.gemm`
    A whole matrix product as a tile computes it.
`numerics.fp32`
    Operations of the vector engine, on fp32 patterns.
`numerics.reductions`
    Reductions of the vector engine, on fp32 patterns.
`numerics.functions`
    The functions of the activation engine, by its table of piecewise cubics.
`numerics.function_table`
    That table, as fields and as the words that programs load.
`numerics.generator`
    The random numbers of each lane.
`tile.simulator`
    Programs on a memory image: the tile without a clock. The modules beside it are its engines.

The contract that all of them implement is docs/numerics.md. What the tests hold against it - second
implementations, MPFR, adversarial operands - is in `verif.oracles` and `verif.stimuli`.
"""
