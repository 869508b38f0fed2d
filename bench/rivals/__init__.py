"""The field's clients and Tieout side by side, at the same simulator, while answers are lost: duplicates and losses."""
