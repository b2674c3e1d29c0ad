"""Benchmarks: competitors in processes of their own take turns on the same cores. Run by `scripts/benchmark`."""
