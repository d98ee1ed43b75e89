"""A program in assembly: a product of 4 x 4 matrices, with ReLU on the way out of PSUM."""

import numpy as np

from tegula_sw import MemoryImage, assemble, disassemble, open_device, to_codes, to_floats

a, b = np.arange(16.0).reshape(4, 4) - 8, np.fliplr(np.diag([1.0, -1.0, 2.0, -2.0]))
image = MemoryImage()
a_addr, b_addr = image.add(to_codes(a, "bf16")), image.add(to_codes(b, "bf16"))
c_addr = image.reserve(4 * 4 * 2)

code = assemble(f"""
# K lies on partitions: a row of A across them (word m of partition k is A[m, k]), B row by row.
load.dma run=4 mem_addr={a_addr} count1=4 mem_stride1=8 layout=partition sbuf_addr=0 sbuf_stride1=1
load.dma run=4 mem_addr={b_addr} count1=4 mem_stride1=8 layout=free sbuf_addr=8 partition_stride1=1
load.sync signal(0+=1)
# psum[m, f] = sum over k of A[m, k] * B[k, f], once both are in the scratchpad
tensor.load rows=4 columns=4 format=bf16 addr=0 wait(0>=1)
tensor.matmul rows=4 columns=4 format=bf16 addr=8 psum_addr=0 signal(1+=1)
# the larger of each sum and s0, which is 0, as bf16
vector.compute rows=4 columns=4 x_addr=0 op0=max format=bf16 dst=16 wait(1>=1) signal(2+=1)
store.dma run=4 mem_addr={c_addr} count1=4 mem_stride1=8 layout=free sbuf_addr=16 \
    partition_stride1=1 wait(2>=1)
halt
""")
program = image.add(code)
memory = image.build()
result = open_device("golden", "tiny").run(memory, program=program, program_bytes=len(code))

print(f"{len(code)} bytes, {len(disassemble(code).splitlines())} instructions, trap: {result.trap}")
c = to_floats(image.read(memory, c_addr, np.uint16, (4, 4)), "bf16")
print(f"max(A @ B, 0) =\n{c}")
print("as numpy has it:", np.array_equal(c, np.maximum(a @ b, 0)))
