"""Word lists written as text."""


def word_set(text: str) -> frozenset[str]:
    """The distinct words of a text.

    >>> sorted(word_set("red green"))
    ['green', 'red']
    """
    return frozenset(text.split())
