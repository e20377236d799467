"""The frame of a run: its folders, parameters, seeds, threads and hashes.

In: `config/<study>.yaml`, `about.yaml` and the cell of parameters of a notebook.
Out: checked parameters, and tables, metrics, figures and pages that are written whole or not at all.
"""
