"""What runs graphs: one package per backend, all with the same meaning."""
