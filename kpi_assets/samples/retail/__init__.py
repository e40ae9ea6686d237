"""The generator of `retail`: a day's sales of three retailers, each in the words of its own, for its API to answer."""
