"""Messages between driver and workers. Free of Keras and Spark."""
