"""What arrives from the district and its partners, and who may see it."""
