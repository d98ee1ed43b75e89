"""Tegula: an open, synthesizable training tile in Amaranth HDL.

`tegula.config`, `tegula.files`, `tegula.formats` and `tegula.isa` are free of HDL and may be
imported by anything; every other module of this package is hardware.
"""
