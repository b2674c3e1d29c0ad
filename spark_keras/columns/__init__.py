"""DataFrame columns and tensors: what the model wants, what the columns hold, and the way between them."""
