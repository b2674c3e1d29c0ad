"""How the states of many workers become one."""
