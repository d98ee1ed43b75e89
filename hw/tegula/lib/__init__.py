"""Small parts without a meaning of their own: delays, multiplexers, stream stages."""
