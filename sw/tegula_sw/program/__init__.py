"""Programs: instructions, what they touch, their order, races."""
