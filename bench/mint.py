#!/usr/bin/env python3
"""Mints many certificates quickly with the system's libcrypto: P-256 keys, an authority and an
intermediate, and per site a file NNNNN.pem with leaf, intermediate and key, as edged, HAProxy and
nginx read it. About half a millisecond each; what a folder already has is kept.

usage: mint.py FOLDER COUNT
"""
import base64, ctypes, ctypes.util, os, sys, time

CRYPTO = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")
for function in ("EVP_PKEY_Q_keygen", "EVP_MD_CTX_new", "EVP_sha256"):
    getattr(CRYPTO, function).restype = ctypes.c_void_p
POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t
CRYPTO.i2d_PUBKEY.argtypes = CRYPTO.i2d_PrivateKey.argtypes = [POINTER, POINTER]
CRYPTO.EVP_PKEY2PKCS8.restype = POINTER
CRYPTO.EVP_PKEY2PKCS8.argtypes = CRYPTO.PKCS8_PRIV_KEY_INFO_free.argtypes = [POINTER]
CRYPTO.i2d_PKCS8_PRIV_KEY_INFO.argtypes = [POINTER, POINTER]
CRYPTO.EVP_PKEY_free.argtypes = CRYPTO.EVP_MD_CTX_free.argtypes = [POINTER]
CRYPTO.EVP_DigestSignInit.argtypes = [POINTER] * 5
CRYPTO.EVP_DigestSign.argtypes = [POINTER, POINTER, POINTER, POINTER, SIZE]

SUFFIX = "bench.example"


def host(index):
    return f"s{index:05}.{SUFFIX}"


class Key:
    def __init__(self):
        self.pointer = CRYPTO.EVP_PKEY_Q_keygen(None, None, b"EC", b"P-256")
        self.public = self.encode(CRYPTO.i2d_PUBKEY, self.pointer)
        info = CRYPTO.EVP_PKEY2PKCS8(self.pointer)
        self.private = self.encode(CRYPTO.i2d_PKCS8_PRIV_KEY_INFO, info)
        CRYPTO.PKCS8_PRIV_KEY_INFO_free(info)

    def __del__(self):
        CRYPTO.EVP_PKEY_free(self.pointer)

    @staticmethod
    def encode(function, pointer):
        buffer = ctypes.create_string_buffer(4096)
        start = ctypes.c_void_p(ctypes.addressof(buffer))
        size = function(pointer, ctypes.byref(start))
        return buffer.raw[:size]

    def sign(self, data):
        context = CRYPTO.EVP_MD_CTX_new()
        CRYPTO.EVP_DigestSignInit(context, None, CRYPTO.EVP_sha256(), None, self.pointer)
        buffer, size = ctypes.create_string_buffer(256), SIZE(256)
        done = CRYPTO.EVP_DigestSign(context, buffer, ctypes.byref(size), data, len(data))
        CRYPTO.EVP_MD_CTX_free(context)
        assert done == 1, "signing failed"
        return buffer.raw[:size.value]


def der(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    count = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | count]) + size.to_bytes(count, "big") + body


def oid(*numbers):
    out = [numbers[0] * 40 + numbers[1]]
    for number in numbers[2:]:
        septets = [number & 127]
        while number := number >> 7:
            septets.insert(0, number & 127 | 128)
        out += septets
    return der(6, bytes(out))


def name(text):
    return der(0x30, der(0x31, der(0x30, oid(2, 5, 4, 3), der(12, text.encode()))))


def extension(number, value, critical=False):
    return der(0x30, oid(2, 5, 29, number), der(1, b"\xff") if critical else b"", der(4, value))


def stamp(seconds):
    return der(23, time.strftime("%y%m%d%H%M%SZ", time.gmtime(seconds)).encode())


def certificate(subject, key, issuer, issuer_key, names=(), days=365):
    algorithm = der(0x30, oid(1, 2, 840, 10045, 4, 3, 2))
    now = int(time.time())
    if names:
        extensions = [
            extension(19, der(0x30), True), extension(15, der(3, b"\x07\x80"), True),
            extension(37, der(0x30, oid(1, 3, 6, 1, 5, 5, 7, 3, 1))),
            extension(14, der(4, os.urandom(20))), extension(35, der(0x30, der(0x80, b"i" * 20))),
            extension(17, der(0x30, *[der(0x82, n.encode()) for n in names])),
        ]
    else:
        extensions = [extension(19, der(0x30, der(1, b"\xff")), True),
                      extension(15, der(3, b"\x01\x06"), True)]
    body = der(
        0x30, der(0xA0, der(2, b"\x02")), der(2, b"\x01" + os.urandom(15)), algorithm,
        name(issuer), der(0x30, stamp(now - 3600), stamp(now + days * 86400)), name(subject),
        key.public, der(0xA3, der(0x30, *extensions)))
    return der(0x30, body, algorithm, der(3, b"\0", issuer_key.sign(body)))


def pem(label, data):
    text = base64.b64encode(data).decode()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def bundle(authority, names):
    """Leaf, intermediate and key for `names`, as one text."""
    title, key, intermediate = authority
    own = Key()
    leaf = certificate(names[0], own, title, key, names)
    return (pem("CERTIFICATE", leaf) + pem("CERTIFICATE", intermediate)
            + pem("PRIVATE KEY", own.private))


def authority():
    """Name, key and certificate of a fresh intermediate under a fresh root."""
    root, below = Key(), Key()
    return ("Bench Intermediate", below,
            certificate("Bench Intermediate", below, "Bench Root", root))


def write(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "w") as file:
        file.write(text)


def mint(folder, count):
    """Fills `folder` with 00000.pem … for the hosts s00000 … of the test domain."""
    os.makedirs(folder, exist_ok=True)
    missing = [i for i in range(count) if not os.path.exists(f"{folder}/{i:05}.pem")]
    issuer = authority() if missing else None
    for index in missing:
        write(f"{folder}/{index:05}.pem", bundle(issuer, [host(index)]))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    mint(sys.argv[1], int(sys.argv[2]))
