"""What the commands share: flags, and how they fail."""
