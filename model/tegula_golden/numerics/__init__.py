"""Arithmetic of the contract: codes, casts, sums, functions, random bits."""
