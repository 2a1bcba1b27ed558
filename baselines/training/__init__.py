"""Samples, losses, the loop, validation, and the memory it all takes."""
