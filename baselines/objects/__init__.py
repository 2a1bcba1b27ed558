"""From ids to what a network learns, and from what it says back to ids."""
