"""JSON: its records are found in any of their shapes, and each keeps its letters."""
