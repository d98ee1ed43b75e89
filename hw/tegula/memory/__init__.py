"""On-chip memories: the banked scratchpad (SBUF) and the accumulators (PSUM)."""
