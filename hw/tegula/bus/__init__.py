"""Bus signatures and the arbiter that shares the AXI4 master."""
