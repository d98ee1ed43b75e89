"""Verilog out of Amaranth: equal modules merged, named, cached."""
