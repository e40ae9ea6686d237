"""A certificate for the parts of the embedded S3, which only they and nobody else trust: P-256, self-signed.

It is derived from a secret of the home, so that there is no second secret to keep, and the same secret gives the same
certificate. Python's standard library can read certificates but cannot make one.

Belongs here: the arithmetic and the encoding. Not here: where the files lie, and who reads them (weed.py).
"""

import base64
import hashlib

Point = tuple[int, int]

# The curve P-256 (FIPS 186-5): its field, its order and its base point.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

# Tags of DER, and the object identifiers that the certificate names.
INTEGER, BIT_STRING, OCTET_STRING, UTF8_STRING, UTC_TIME, GENERAL_TIME = 2, 3, 4, 12, 23, 24
SEQUENCE, SET = 0x30, 0x31
EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")
PRIME256V1 = bytes.fromhex("06082a8648ce3d030107")
ECDSA_WITH_SHA256 = bytes.fromhex("06082a8648ce3d040302")
COMMON_NAME = bytes.fromhex("0603550403")
BASIC_CONSTRAINTS = bytes.fromhex("0603551d13")
SUBJECT_ALT_NAME = bytes.fromhex("0603551d11")
TRUE = b"\x01\x01\xff"


def pair(secret: bytes) -> tuple[str, str]:
    """Return (certificate, private key) as PEM texts. The certificate is its own authority and never expires."""
    private = _scalar(secret)
    public = b"\x04" + b"".join(each.to_bytes(32, "big") for each in _known(_times(private, G)))
    signed = _to_be_signed(public)
    algorithm = _der(SEQUENCE, ECDSA_WITH_SHA256)
    certificate = _der(SEQUENCE, signed, algorithm, _bits(_signature(private, secret, signed)))
    key = _der(
        SEQUENCE,
        _integer(1),
        _der(OCTET_STRING, private.to_bytes(32, "big")),
        _der(0xA0, PRIME256V1),
        _der(0xA1, _bits(public)),
    )
    return _pem("CERTIFICATE", certificate), _pem("EC PRIVATE KEY", key)


def _to_be_signed(public: bytes) -> bytes:
    """Return the part of the certificate that its signature covers."""
    name = _der(SEQUENCE, _der(SET, _der(SEQUENCE, COMMON_NAME, _der(UTF8_STRING, b"kpi"))))
    always = _der(SEQUENCE, _der(UTC_TIME, b"200101000000Z"), _der(GENERAL_TIME, b"99991231235959Z"))
    hosts = _der(SEQUENCE, _der(0x87, bytes([127, 0, 0, 1])), _der(0x82, b"localhost"))
    extensions = _der(
        SEQUENCE,
        _der(SEQUENCE, BASIC_CONSTRAINTS, TRUE, _der(OCTET_STRING, _der(SEQUENCE, TRUE))),
        _der(SEQUENCE, SUBJECT_ALT_NAME, _der(OCTET_STRING, hosts)),
    )
    return _der(
        SEQUENCE,
        _der(0xA0, _integer(2)),  # version 3
        _integer(int.from_bytes(hashlib.sha256(public).digest()[:8], "big")),
        _der(SEQUENCE, ECDSA_WITH_SHA256),
        name,
        always,
        name,
        _der(SEQUENCE, _der(SEQUENCE, EC_PUBLIC_KEY, PRIME256V1), _bits(public)),
        _der(0xA3, extensions),
    )


def _signature(private: int, secret: bytes, signed: bytes) -> bytes:
    """Return the ECDSA signature. Its nonce is derived too, from all that is signed, so it is never used twice."""
    nonce = _scalar(secret + signed)
    r = _known(_times(nonce, G))[0] % N
    s = pow(nonce, -1, N) * (int.from_bytes(hashlib.sha256(signed).digest(), "big") + r * private) % N
    return _der(SEQUENCE, _integer(r), _integer(s))


def _scalar(seed: bytes) -> int:
    """Return a number from 1 to N - 1."""
    return int.from_bytes(hashlib.sha512(seed).digest(), "big") % (N - 1) + 1


def _add(one: Point | None, other: Point | None) -> Point | None:
    """Add two points of the curve. None is the neutral one."""
    if one is None or other is None:
        return one or other
    if one[0] == other[0]:
        if (one[1] + other[1]) % P == 0:
            return None
        slope = (3 * one[0] * one[0] - 3) * pow(2 * one[1], -1, P)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, P)
    x = (slope * slope - one[0] - other[0]) % P
    return x, (slope * (one[0] - x) - one[1]) % P


def _times(number: int, point: Point | None) -> Point | None:
    total = None
    while number:
        if number & 1:
            total = _add(total, point)
        point, number = _add(point, point), number >> 1
    return total


def _known(point: Point | None) -> Point:
    assert point is not None, "a multiple below the order is not the neutral point"
    return point


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    width = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + size.to_bytes(width, "big") + body


def _integer(value: int) -> bytes:
    return _der(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _bits(body: bytes) -> bytes:
    return _der(BIT_STRING, b"\x00", body)


def _pem(name: str, der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", ""])
