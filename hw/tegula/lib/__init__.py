"""General parts: delays, multiplexers, stream stages."""
