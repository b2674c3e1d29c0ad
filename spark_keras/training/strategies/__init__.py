"""Ways of training: the rules by which the states of many workers become one."""
