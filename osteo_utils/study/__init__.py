"""Folders, parameters, seeds and results: what every other wing stands on."""
