"""The golden model of Tegula: numpy on integers, free of HDL, usable on its own.

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
`fp32_stimuli`
    Seeded adversarial pairs for sums and products of fp32.
`functions`
    The functions of the activation engine, by its table of piecewise cubics.
`stimuli`, `function_stimuli`
    Seeded adversarial operands, fp32 inputs and tables (contract section 7).
`function_oracle`
    What the engine's functions approximate, by MPFR.
`reference`, `reference_functions`
    The same contract a second time, slowly, on Python integers and fractions: the tests' opinion.

The contract that all of them implement is docs/numerics.md.
"""
