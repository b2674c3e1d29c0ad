"""All that a fit needs to go on to the same bits in another driver."""
