"""The Python process of an executor: settings, pickles, memory, caches. Free of Keras, which it prepares for."""
