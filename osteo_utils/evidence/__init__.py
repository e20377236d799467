"""What the predictions show: combined models, subgroups, shortcuts, and what the labels are worth.

In: predictions, features and masks of a study, and a reference label where there is one.
Out: tables of comparisons with intervals and tests, films to look at, and the corrected set.
"""
