"""Reader studies: a page on which people choose between the fills of two methods, and the score of their answers."""
