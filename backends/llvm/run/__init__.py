"""What runs a native program: records, the team of threads, the walker, and calls from this process."""
