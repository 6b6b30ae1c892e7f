"""graphc and its peers at the same work on the same machine: `make bench`, or `python -m benchmarks [NAME ...]`."""
