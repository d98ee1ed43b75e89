"""DMA: runs of descriptors, bursts of runs, and the alignment of their bytes."""
