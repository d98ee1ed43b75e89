"""Seeded adversarial inputs, drawn in the units of what is tested."""
