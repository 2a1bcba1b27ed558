"""Networks over whole volumes, block by block, to files that can be submitted."""
