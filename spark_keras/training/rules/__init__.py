"""Rules by which the states of many workers become one: pure functions, for the driver and for the workers."""
