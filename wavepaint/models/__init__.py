"""The architectures, one a file, and how to find and load them."""
