"""The tile's RTL, compiled by Verilator into a library that Python calls."""
