"""C = A @ B on a tile, against numpy; `examples/gemm.py rtl` runs it on the compiled hardware."""

import sys

import numpy as np

from tegula_sw import matmul, open_device

rng = np.random.default_rng(1)
a, b = rng.standard_normal((40, 100)), rng.standard_normal((100, 30))
exact = a @ b
device = open_device(sys.argv[1] if len(sys.argv) > 1 else "golden", "tiny")

print(f"(40 x 100) @ (100 x 30) on {type(device).__name__} of preset {device.config.name}")
for fmt in ("bf16", "e4m3fn", "e5m2"):
    c, report = matmul(device, a, b, format_a=fmt, format_b=fmt, format_out="fp32")
    error = np.sqrt(np.mean((c - exact) ** 2) / np.mean(exact**2))
    cost = f"{report.read_beats} + {report.write_beats} beats"
    if report.cycles is not None:
        cost = f"{report.cycles} cycles, {report.utilisation:.0%} of the array"
    print(f"{fmt:>7}: relative error {error:.2e}, {cost}")
