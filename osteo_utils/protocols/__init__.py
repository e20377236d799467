"""How films are split into folds, and the mistakes that can be made on the way (the leakage lab).

In: films with label and group, features of films.
Out: `folds.csv`, folds to be fitted, predictions under each mistake and what it is worth.
"""
