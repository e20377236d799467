"""Shared code of the study; see `osteo_utils/README.md` for the plan of the package."""
