"""Port, retirement and trace that the five engines share."""
