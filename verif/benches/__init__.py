"""cocotb benches on Verilator: `make sim`."""
