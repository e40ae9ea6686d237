"""Signatures: recognizes an object of another format than the expected one by its first bytes, and says what to do.

Where a word of the header can say it, the sentence says which to write.
Belongs here: the signatures of file formats and of encodings. Not here: errors in an object of the expected format
(sources/formats), and unpacking (compression.py).
"""

import re

# What to do; `{expected}` is the name of the format that the table declares.
_UNPACK = "unpack it, and land the {expected} that is in it"
_EXPORT = "export it as {expected} in UTF-8, and land that"
_GZIP, _ZIP, _ZSTD = (f"write compression: {kind}" for kind in ("gzip", "zip", "zstd"))
_UTF8, _UTF16, _UTF32 = (f"write encoding: {name}" for name in ("utf-8", "utf-16", "utf-32"))
_WORKBOOK = "export the sheet as {expected} in UTF-8, and land that"
# (first bytes, what the object is, what to do); the first match counts.
_SIGNS = (
    (b"\x1f\x8b", "a gzip file", _GZIP),
    (b"BZh", "a bzip2 file", _UNPACK),
    (b"\xfd7zXZ\0", "an xz file", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd file", _ZSTD),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip file", _UNPACK),
    (b"Rar!", "a RAR file", _UNPACK),
    (b"PK\x03\x04", "a zip file", _ZIP),
    (b"PK\x05\x06", "a zip file with nothing in it", _UNPACK),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of before 2007", _WORKBOOK),
    (b"PAR1", "a Parquet file", "write format: parquet"),
    (b"ORC", "an ORC file", _EXPORT),
    (b"Obj\x01", "an Avro file", _EXPORT),
    (b"ARROW1", "an Arrow file", _EXPORT),
    (b"SQLite format 3", "an SQLite database", _EXPORT),
    (b"%PDF-", "a PDF", "ask who delivers it for a {expected}, and land that"),
    (b"\xff\xfe\0\0", "text in UTF-32", _UTF32),
    (b"\0\0\xfe\xff", "text in UTF-32", _UTF32),
    (b"\xff\xfe", "text in UTF-16", _UTF16),
    (b"\xfe\xff", "text in UTF-16", _UTF16),
    (b"\xef\xbb\xbf", "text in UTF-8", _UTF8),
)
_BOOKS = ((b"xl/", "an Excel workbook"), (b"opendocument.spreadsheet", "an OpenDocument spreadsheet"))
_FETCHED = "it is mostly what a server says instead of the file: look into it, and fetch the file again"
_TEXTS = (
    (re.compile(rb"\s*<(?:!doctype html|html|head|body)\b", re.IGNORECASE), "a web page", _FETCHED),
    (re.compile(rb"\s*<\?xml\b"), "XML", _FETCHED),
    (re.compile(rb"""\s*[{\[]\s*["{\[}\]]"""), "JSON", "write format: json"),
)
_WIDE = (
    (re.compile(rb"(?:[^\0]\0\0\0){2}"), "text in UTF-32", "write encoding: utf-32-le"),
    (re.compile(rb"(?:\0\0\0[^\0]){2}"), "text in UTF-32", "write encoding: utf-32-be"),
    (re.compile(rb"(?:[^\0]\0){4}"), "text in UTF-16", "write encoding: utf-16-le"),
    (re.compile(rb"(?:\0[^\0]){4}"), "text in UTF-16", "write encoding: utf-16-be"),
)


def other_format(start: bytes, expected: str, encoding: str = "utf-8") -> str:
    """Return what an object is that begins with these bytes, and what to do.

    The result is empty if the object may be text of the `expected` format, such as "CSV", in this encoding.
    """
    is_wide = encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32"))
    found = identify(start)
    if found is not None and found[0] != expected:
        what, remedy = found
        if what.startswith("text") and expected == "CSV":
            named = what.removeprefix("text in ").lower()
            if encoding.replace("_", "-").startswith(named):
                return ""
            declared = "UTF-8" if encoding == "utf-8" else encoding
            return f"it is {what}, not in {declared}: {remedy}"
        if what.startswith("text"):
            remedy = _EXPORT
        return f"it is {what}, not {expected}: {remedy.format(expected=expected)}"
    if not is_wide and b"\0" in start.split(b"\n", 1)[0]:
        return f"its first line holds a NUL byte, which no text has: ask who delivers it for a {expected} in UTF-8"
    return ""


def identify(start: bytes) -> tuple[str, str] | None:
    """Return (what it is, what to do) for an object that begins with a known signature, else None."""
    for sign, what, remedy in _SIGNS:
        if start.startswith(sign):
            book = next((name for part, name in _BOOKS if what == "a zip file" and part in start), None)
            return (book, _WORKBOOK) if book else (what, remedy)
    for pattern, what, remedy in _TEXTS:
        if pattern.match(start):
            return what, remedy
    for pattern, what, remedy in _WIDE:
        if pattern.match(start):
            return what, remedy
    return None
