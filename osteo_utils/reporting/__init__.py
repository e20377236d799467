"""Figures and the report, drawn from saved results only.

In: metrics, tables, predictions and figures under `reports/<study>/`.
Out: figures as PNG and SVG, `report.html`, `report.pdf`, executed notebooks as pages.
"""
