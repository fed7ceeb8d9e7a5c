#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets of base: small, one for each kind of value or line."""
import os

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")

VALUES = {
    "nil": b"\xc0", "bool": b"\xc3", "fixint": b"\x7f", "negative": b"\xe0",
    "u8": b"\xcc\xff", "u16": b"\xcd\xff\xff", "u32": b"\xce" + b"\xff" * 4,
    "u64": b"\xcf" + b"\xff" * 8, "i8": b"\xd0\x80", "i16": b"\xd1\x80\x00",
    "i32": b"\xd2\x80\x00\x00\x00", "i64": b"\xd3\x80" + b"\x00" * 7,
    "float": b"\xca\x3f\x80\x00\x00", "double": b"\xcb\x3f\xf0" + b"\x00" * 6,
    "fixstr": b"\xa5hello", "str8": b"\xd9\x05hello", "str16": b"\xda\x00\x05hello",
    "str32": b"\xdb\x00\x00\x00\x05hello", "bin8": b"\xc4\x02\x00\x01",
    "bin16": b"\xc5\x00\x02\x00\x01", "bin32": b"\xc6\x00\x00\x00\x02\x00\x01",
    "fixext1": b"\xd4\x01x", "fixext16": b"\xd8\x01" + b"x" * 16, "ext8": b"\xc7\x02\x01xy",
    "ext32": b"\xc9\x00\x00\x00\x01\x05x", "array16": b"\xdc\x00\x02\x01\x02",
    "array32": b"\xdd\x00\x00\x00\x01\x90", "map16": b"\xde\x00\x01\x01\x02",
    "map32": b"\xdf\x00\x00\x00\x01\xa1k\x80", "nested": b"\x92\x81\xa1k\x93\x01\xc0\x90\xa1z",
    "deep": b"\x91" * 17 + b"\x01", "invalid": b"\x92\x01\xc1", "cut": b"\x93\x01\xa5he",
    "lying-array": b"\xdd\xff\xff\xff\xff\x01", "lying-map": b"\xdf\xff\xff\xff\xff\x01",
    "lying-str": b"\xdb\xff\xff\xff\xffx",
    "request": b"\x94\x00\x01\xa6append\x91\x82\xa6stream\xa7Order-1\xa6events\x91\x82\xa4type"
               b"\xa1T\xa4data\xc4\x02{}",
}

FILES = {
    "all": "[node]\nid = 7\nlisten = [::1]:80\n[store]\nbytes = 1 MiB\nverify = on\n",
    "comments": "\ufeff; one\n# two\n[node]\n\nid=3 ; three\r\n",
    "goes-on": "[node]\nmembers = 1=a:1,\n  2=b:2,\n\t3=c:3\nlisten: x\n",
    "long": "[node]\nmembers =\n" + (" " + "1=host.example:7000," * 9 + "\n") * 5,
    "indented": "[node]\nid = 1\n  listen = x\n",
    "twice": "[node]\nid = 1\nid = 2\n", "wrong-section": "[store]\nid = 1\n",
    "unknown": "[node]\nidd = 1\n", "bad-number": "[node]\nid = 100\n",
    "bad-bytes": "[store]\nbytes = 64MB\n", "no-bracket": "[node\nid = 1\n",
    "no-value": "[node]\nid\n", "no-section": "id = 1\n", "empty-name": "[node]\n= 3\n",
    "comment-in-value": "[node]\nlisten =;x\n", "too-long": "[node]\nlisten = " + "x" * 300,
    "zero-byte": "[node]\nlisten = a\0b\n", "unending": "[store]\nverify = 1",
}


def write(target, name, content):
    folder = os.path.join(HERE, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)


def main():
    for number, (name, value) in enumerate(VALUES.items()):
        write("fuzz_msgpack_reader", name, value)
        bounds = bytes([len(value) if number % 3 else 255, 16 if number % 2 else 2, number % 5])
        write("fuzz_scanner", name, bounds + value)
    for name, text in FILES.items():
        write("fuzz_settings_file", name, text.encode())


if __name__ == "__main__":
    main()
