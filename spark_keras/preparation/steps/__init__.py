"""The steps of a transform process by kind: in each file the steps, and the methods that add them to a process."""
