"""The vector engine: a lane a partition, rounding and casting on the way to the scratchpad."""
