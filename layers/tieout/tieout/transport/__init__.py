"""The one HTTP door: time-outs, budgets, redaction, answer to error."""
