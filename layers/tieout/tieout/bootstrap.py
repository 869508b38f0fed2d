"""The only place that chooses implementations: settings in, use cases out."""
