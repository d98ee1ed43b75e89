"""A custom configuration to Verilog: 4 x 4, 16 KiB of scratchpad, bf16 and E4M3 only."""

from tegula_sw import E4M3FN, TileConfig, tile_verilog

config = TileConfig(
    name="example",
    n=4,
    sbuf_depth=2048,
    psum_bank_words=32,
    axi_data_width=64,
    activation_lanes=1,
    activation_entries=256,
    semaphores=4,
    queue_depth=2,
    fp8_formats=(E4M3FN,),
)
print(f"{config.n} x {config.n} array, {config.sbuf_bytes // 1024} KiB of scratchpad,", end=" ")
print("operands of", *(fmt.name for fmt in config.operand_formats))

path = tile_verilog(config)
lines = path.read_text().splitlines()
modules = [line.split()[1].partition("(")[0] for line in lines if line.startswith("module ")]
print(f"{path.name}: {len(lines)} lines, {len(modules)} modules, top {modules[0]}")

try:
    TileConfig(sbuf_depth=3000)
except ValueError as error:
    print(f"what cannot be built is refused: {error}")
