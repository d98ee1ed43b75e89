"""Signatures of the buses, and the AXI4 manager port with its read arbiter."""
