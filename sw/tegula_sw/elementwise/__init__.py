"""Elementwise work on arrays: casts, operations, functions, transposes."""
