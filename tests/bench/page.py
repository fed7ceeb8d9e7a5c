"""A page of markdown with a part that a command writes, between two lines with its mark."""

import os
import sys


def paste(path, mark, text):
    with open(path, encoding="utf-8") as file:
        parts = file.read().split(mark)
    if len(parts) != 3:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {path} must have two lines {mark}, it has {len(parts) - 1}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{parts[0]}{mark}\n{text}\n{mark}{parts[2]}")
