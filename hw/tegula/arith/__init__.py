"""Arithmetic blocks: each is one step of the numerics contract, bit for bit."""
