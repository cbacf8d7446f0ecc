"""How the holes of a photograph become patches for an engine, and how the results are pasted back."""
