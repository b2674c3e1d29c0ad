"""All Params of the stages: declarations, getters and setters, checks."""
