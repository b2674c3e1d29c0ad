"""Those who train, and the ways by which requests reach them."""
