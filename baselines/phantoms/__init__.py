"""Made-up specimens with known truth."""
