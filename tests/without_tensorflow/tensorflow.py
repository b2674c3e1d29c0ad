"""First on PYTHONPATH, an environment without TensorFlow: what a cluster with JAX alone is."""

raise ImportError("These processes do without TensorFlow.")
