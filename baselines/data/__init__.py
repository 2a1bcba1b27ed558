"""What a data set holds: crops, their masks and raw, and how they are split."""
