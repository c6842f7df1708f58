"""The report: one page about condensed sets.

What must be known is computed by pure functions, apart from what draws it and from the page's template.
"""
