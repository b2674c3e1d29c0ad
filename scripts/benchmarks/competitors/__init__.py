"""What takes part in the benchmarks: each module is a program that answers commands, see `benchmarks.serving`."""
