"""Contents of the columns of a DataFrame: its analysis, the check of later data against it, and shapes of tensors."""
