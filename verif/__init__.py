"""What judges the hardware, the golden model and the software."""
