"""From the holes of a photo to patches for an engine, and from filled patches back to the photo."""
