"""Matrix products from memory to memory."""
