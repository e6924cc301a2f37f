"""Shows the docstrings' doctest examples as code on the site.

Doctests stand in the docstrings as they are, without a fence. Markdown reads `>>>` as
quotations, so this extension of griffe puts a fence around each run of their lines.
"""

import griffe


class DoctestExamples(griffe.Extension):
    """Fences the doctests of every docstring before it is parsed."""

    def on_object(self, *, obj, **kwargs):
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text):
    """Returns the text with a `pycon` fence around each doctest.

    A doctest begins at a line that starts with `>>> ` and ends at an empty line, a
    fence, or the end of the text. Lines inside a fence stay as they are.
    """
    lines, within, inside = [], False, False
    for line in text.splitlines():
        if inside and not line.strip():
            lines.append("```")
            inside = False
        if line.startswith("```"):
            within = not within
        if line.startswith(">>> ") and not inside and not within:
            lines.append("```pycon")
            inside = True
        lines.append(line)
    return "\n".join([*lines, "```"] if inside else lines)
