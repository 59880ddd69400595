"""One run: compiled steps, Algorithm 1, and its directory."""
