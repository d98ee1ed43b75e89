"""Training on the tile: a classifier as programs, its data, and runs that can be resumed."""
