"""Kernels of training on a builder that places memory and semaphores by itself."""
