"""Second opinions on the contract, written number by number or taken from MPFR."""
