"""Compiled programs, one file for each backend: rounds of training and forward passes."""
