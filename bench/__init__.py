"""Figures, not tests: counts and ratios, since machines differ. `make bench` prints them beside their goals."""
