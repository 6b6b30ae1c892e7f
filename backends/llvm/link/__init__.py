"""From kernels and a schedule to one native program: objects, tables of tasks, barriers, windows."""
