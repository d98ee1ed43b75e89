"""The banked scratchpad (SBUF), and the ports of the on-chip memories."""
