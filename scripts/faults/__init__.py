"""Campaigns of faults: what is killed or cancelled, and whether the result still has the same bits."""
