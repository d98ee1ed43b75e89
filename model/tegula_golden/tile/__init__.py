"""The functional tile: its state, the instructions of each engine, whole programs."""
