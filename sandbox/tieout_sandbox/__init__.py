"""Runs Tieout on one machine: provider simulators, the local AWS and the guided tour. Never deployed."""
