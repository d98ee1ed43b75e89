"""DMA: descriptors become runs, runs become bursts, and bytes are realigned on their way."""
