"""The documentation site: `make docs` builds it with Sphinx into `.build/docs`."""

project = "Overdraft"
extensions = ["myst_parser", "sphinx_copybutton"]
html_theme = "furo"
html_title = "Overdraft"
exclude_patterns = ["examples"]
# Headings get the anchors that GitHub gives them, so that links work in both places.
myst_heading_anchors = 4
# The code blocks `json 201` of the guides are a status and an answer.
suppress_warnings = ["misc.highlighting_failure"]
html_show_sphinx = False
