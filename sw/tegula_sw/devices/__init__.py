"""Devices that run programs: the golden model, and the compiled RTL."""
