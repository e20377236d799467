"""Activation maps of fitted networks, their robustness, and their predictions for other films.

In: the fits of a study, its films, or a film of the reader.
Out: activation maps, checks of these maps, scores on perturbed films, a reading with its page.
"""
