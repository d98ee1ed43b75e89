"""What the five engines have alike: their port, their retirement, their trace."""
