"""How Sphinx makes the pages of `./run_all.sh site`; the title and the line above each page come from the command."""

project = "Osteoporosis on knee X-rays"
extensions = ["myst_nb"]
exclude_patterns = ["**/.ipynb_checkpoints"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_use_index = False
html_copy_source = False
html_show_copyright = False
# The summaries of search results would be fetched, which a browser forbids where pages are opened as files.
html_show_search_summary = False
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_code_prompt_show = "Solution"
nb_code_prompt_hide = "Hide the solution"
nb_merge_streams = True
# Nothing is loaded from another host. A widget without its kernel is shown by the picture or text stored beside it.
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_mime_priority_overrides = [("*", "application/vnd.jupyter.widget-view+json", None)]
# Notebooks may begin a section one level deeper than the heading above it; browsers and readers do not mind.
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]
