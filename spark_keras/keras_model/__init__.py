"""The one door to Keras' insides: a model's archive, structure, state, metrics and seeds."""
