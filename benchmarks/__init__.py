"""The same work in graphc and in its peers, and the results."""
