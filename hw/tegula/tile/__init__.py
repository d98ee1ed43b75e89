"""The tile: every block, connected."""
