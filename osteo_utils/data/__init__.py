"""From radiograph files to a checked table of images, and from there to groups and folds."""
