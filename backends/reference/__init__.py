"""The NumPy backend that defines what every op means."""
