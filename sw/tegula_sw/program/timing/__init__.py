"""Model of time: the cycles of a program, predicted without the RTL."""
