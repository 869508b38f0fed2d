"""Archives what the table's stream tells."""
