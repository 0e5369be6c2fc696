"""Where weights come from: the bundled demo model, a local directory, or a hub."""
