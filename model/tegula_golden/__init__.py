"""The golden model of Tegula: numpy on integers, free of HDL, usable on its own.

`tegula_golden.numerics`: the arithmetic of docs/numerics.md, on arrays.

`codes`
    Codes to values, and to the significands and exponents that the array multiplies.
`cast`
    fp32 to any format, to nearest even or stochastically, saturating or not.
`partial_sums`
    PSUM words, and their reading as fp32.
`accumulate`
    One matmul instruction: products added to partial sums.
`generator`
    The random numbers of each lane.
`gemm`
    A whole matrix product as a tile computes it.
`fp32`
    Operations and reductions of the vector engine, on fp32 patterns.
`functions`
    The functions of the activation engine, by its table of piecewise cubics.

`tegula_golden.tile`: programs of docs/isa.md on the state of a tile.

`state`
    Scratchpad, PSUM, generators and tables.
`bus`
    Memory behind the access window, and its errors.
`tensor`, `vector`, `activation`, `dma`
    Instructions of each engine.
`simulator`
    A program from its first granule to its end or its trap.

What judges this model, a second implementation of the contract and seeded stimuli, lies in
`verif/oracles` and `verif/stimuli`.
"""
