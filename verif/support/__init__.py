"""Benches, models and peers that unit tests share."""
