"""The driver: all the way from a function to executables, reports, files and the command line.

It may import everything."""
