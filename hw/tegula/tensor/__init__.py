"""The tensor engine: processing elements, the systolic array around them, and its controller."""
