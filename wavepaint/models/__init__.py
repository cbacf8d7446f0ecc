"""The networks, one architecture a file, and the registry and detection of all of them."""
