"""A kernel on the builder: softmax of the rows of x @ w, in bands of four rows on a 4 x 4 tile."""

import numpy as np

import tegula_sw as tsw

rng = np.random.default_rng(2)
x, w = rng.standard_normal((8, 6)), rng.standard_normal((6, 5))
device, image = tsw.open_device("golden", "tiny"), tsw.MemoryImage()
table = tsw.TableRecords.add(device.config, ["exp", "recip"], image)
b = tsw.KernelBuilder(device.config, table=table)
b.load_functions()

x_t, w_in = (b.scratchpad.matrix(name, 6, k, tsw.BF16) for name, k in (("x^T", 8), ("w", 5)))
y = b.scratchpad.matrix("y", 8, 5, tsw.FP32)
largest, total = (b.scratchpad.matrix(name, 4, 1, tsw.FP32).strip() for name in ("max", "sum"))
b.load_transposed(x_t, image.add(tsw.to_codes(x, "bf16")))
b.load(w_in, image.add(tsw.to_codes(w, "bf16")))
for bands, sums in b.product(x_t, w_in):  # sums are in PSUM, K = 6 in two passes of the array
    for band in bands:
        z, row = sums.slice(5 * (band - bands.start), 5 * (band - bands.start + 1)), y.band(band)
        b.reduce(largest, z, reduction="max")
        b.compute(row, z, tsw.Step("sub", tsw.PerPartition(largest)))
        b.apply(row, row, "exp", total=total)
        b.apply(total, total, "recip")
        b.compute(row, row, tsw.Step("mul", tsw.PerPartition(total)))
result = image.reserve(8 * 5 * 4)
b.store(y, result)

code = b.assemble()
program = image.add(code)
memory = image.build()
device.run(memory, program=program, program_bytes=len(code))
found = image.read(memory, result, np.float32, (8, 5))
expected = np.exp(x @ w) / np.exp(x @ w).sum(1, keepdims=True)
print(f"{len(tsw.disassemble(code).splitlines())} instructions; softmax of the first two rows:")
for row in found[:2]:
    print(*(f"{value:.4f}" for value in row))
print(f"largest error {abs(found - expected).max():.1e}: x and w are rounded to bf16")
