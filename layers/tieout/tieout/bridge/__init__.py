"""The bridge: systems that nothing in the cloud can reach fetch their work here, and report it."""
