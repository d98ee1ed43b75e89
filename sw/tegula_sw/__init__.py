"""What runs on the tile: program builder, kernels, devices and the command line."""
