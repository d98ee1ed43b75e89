"""The activation engine: functions by tables of piecewise cubics, beside the vector engine."""
