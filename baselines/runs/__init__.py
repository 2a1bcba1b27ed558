"""The folder of a run: weights, journal, lock, curves, archive; and the device it is on."""
