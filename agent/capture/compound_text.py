"""COMPOUND_TEXT: the encoding of window titles before UTF-8, which older toolkits still use."""

import re

_ESCAPE = 0x1B
# The meaning of bytes from 0x80 on after an escape: parts of ISO 8859, and East Asian two-byte sets (CTEXT, X.Org).
_RIGHT = {
    **{
        b"-" + letter: codec
        for letter, codec in (
            (b"A", "iso8859-1"),
            (b"B", "iso8859-2"),
            (b"C", "iso8859-3"),
            (b"D", "iso8859-4"),
            (b"F", "iso8859-7"),
            (b"G", "iso8859-6"),
            (b"H", "iso8859-8"),
            (b"L", "iso8859-5"),
            (b"M", "iso8859-9"),
            (b"b", "iso8859-15"),
        )
    },
    b"$)A": "gb2312",
    b"$)B": "euc_jp",
    b"$)C": "euc_kr",
}
_LEFT = {b"(B": "ascii", b"(J": "ascii", b"$(A": "gb2312", b"$(B": "euc_jp", b"$(C": "euc_kr"}
_UTF8 = re.compile(rb"\x1b%G(.*?)(?:\x1b%@|\Z)", re.DOTALL)
_SEQUENCE = re.compile(rb"\x1b([\x20-\x2f]+[\x30-\x7e])")


def decode_compound_text(value: bytes) -> str:
    """Return the text; bytes without a known meaning are replaced by U+FFFD."""
    parts, end = [], 0
    for utf8 in _UTF8.finditer(value):
        parts += [_decode_sets(value[end : utf8.start()]), utf8[1].decode("utf-8", "replace")]
        end = utf8.end()
    return "".join([*parts, _decode_sets(value[end:])])


def _decode_sets(value: bytes) -> str:
    text, left, right = "", "ascii", "iso8859-1"
    pieces = _SEQUENCE.split(value)  # text, escape, text, escape, text...
    for index, piece in enumerate(pieces):
        if index % 2:
            left, right = _LEFT.get(piece, left), _RIGHT.get(piece, right)
            continue
        for run in re.findall(rb"[\x00-\x7f]+|[\x80-\xff]+", piece):
            if run[0] >= 0x80:
                text += run.decode(right, "replace")
            elif left == "ascii":
                text += run.decode("ascii")
            else:
                text += bytes(byte | 0x80 for byte in run).decode(left, "replace")
    return text
