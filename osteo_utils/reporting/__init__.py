"""Reporting: figures and reports drawn from saved results only."""
