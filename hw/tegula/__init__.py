"""Tegula: an open, synthesizable training tile in Amaranth HDL.

`tegula.tile.Tile` is the hardware of a `tegula.config.TileConfig`, and
`tegula.backend.verilog.tile_verilog` its Verilog.

`tegula.config`, `tegula.files`, `tegula.formats`, `tegula.isa`, `tegula.xor128` and
`tegula.engine.trace` are free of HDL and may be imported by anything; `tegula.backend` writes
files; every other module of this package is hardware.

What runs on a tile is in `tegula_sw`, its arithmetic in numpy in `tegula_golden`.
"""
