"""Inputs and outputs of commands."""
