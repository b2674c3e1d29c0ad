"""The forward pass over DataFrame columns, on the executors."""
