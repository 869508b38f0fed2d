"""Parks changes that no worker survived."""
