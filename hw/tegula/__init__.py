"""Tegula: an open, synthesizable training tile in Amaranth HDL.

Free of HDL, for anything to import: `tegula.config`, `tegula.engine.trace`, `tegula.files`,
`tegula.formats`, `tegula.isa` and `tegula.xor128`. `tegula.backend` turns components into Verilog;
every other module is hardware, and `tegula.tile` the whole of it.
"""
