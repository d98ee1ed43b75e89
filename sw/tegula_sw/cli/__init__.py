"""The `tegula` command."""
