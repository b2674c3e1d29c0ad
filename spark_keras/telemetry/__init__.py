"""Where the time of a fit goes, and what is told of it: while it runs and afterwards."""
