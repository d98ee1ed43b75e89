"""A custom configuration to Verilog: tiny with 16 KiB of scratchpad, bf16 and E4M3 only."""

from dataclasses import replace

from tegula_sw import E4M3FN, TileConfig, preset, tile_verilog

config = preset("tiny", sbuf_depth=2048, activation_entries=256, fp8_formats=(E4M3FN,))
config = replace(config, name="example")
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
