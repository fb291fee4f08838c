"""The audit that a candidate model must pass, and the signature that lets it serve."""
