"""The time of a fit, and all that is told of it: while it runs and afterwards."""
