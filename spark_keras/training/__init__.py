"""Synchronous data-parallel training: resident workers, and the driver as averager."""
