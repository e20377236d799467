"""Every figure in one style: data, films, models, and values with their intervals.

In: tables of results, and films as arrays.
Out: Matplotlib figures that say which films and which split they show.
"""
