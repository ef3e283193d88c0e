#!/usr/bin/env python3
"""make_char_class.py - writes char_class_table.h from the two .tsv files beside it

usage: make_char_class.py        (from anywhere; needs nothing but Python 3)

The pre-tokenisers' expressions ask of a character only which classes it is in.
Characters beyond ASCII that are in the same classes are interchangeable, so
each such set of classes becomes one byte from 0x80 on, and the expressions run
over those bytes. The table says which byte a code point has; the CLASS_ macros
are the classes as the inside of a PCRE2 bracket expression.

SPDX-License-Identifier: PostgreSQL
"""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
LAST = 0x10FFFF


def ranges(name):
    for line in open(os.path.join(HERE, name), encoding="ascii"):
        if not line.startswith("#"):
            first, last, kind = line.split()
            yield int(first, 16), int(last, 16), kind


sets = {}                       # class -> set of code points
for first, last, kind in ranges("unicode-classes.tsv"):
    sets.setdefault({"W": "SPACE"}.get(kind, kind), set()).update(range(first, last + 1))
for first, last, kind in ranges("deepseek-llm-classes.tsv"):
    sets.setdefault("LLM_" + kind, set()).update(range(first, last + 1))
sets["V3_CJK"] = set(range(0x4E00, 0x9FA6)) | set(range(0x3040, 0x3100))
del sets["Z"]                   # no expression asks for it
order = sorted(sets)


def combination(code):
    return tuple(name for name in order if code in sets[name])


codes = {}                      # combination -> byte
for combo in sorted({combination(c) for c in range(0x80, LAST + 1)}):
    codes[combo] = 0x80 + len(codes)
assert len(codes) <= 0x80

table, before = [], None
for c in range(0x80, LAST + 1):
    code = codes[combination(c)]
    if code != before:
        table.append((c, code))
        before = code


def bracket(members):
    """sorted byte values as ranges of a bracket expression, in escapes that C and PCRE2 both pass on"""
    out, members = "", sorted(members)
    while members:
        first = last = members.pop(0)
        while members and members[0] == last + 1:
            last = members.pop(0)
        out += "\\\\x%02x" % first + ("-\\\\x%02x" % last if last > first else "")
    return out


with open(os.path.join(HERE, "char_class_table.h"), "w", encoding="ascii") as f:
    f.write("""/*
 * char_class_table.h - made by make_char_class.py; do not edit
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_CHAR_CLASS_TABLE_H
#define TEXT_CHAR_CLASS_TABLE_H

""")
    for name in order:
        members = [c for c in range(0x80) if c in sets[name]] + [code for combo, code in codes.items() if name in combo]
        f.write('#define CLASS_%s "%s"\n' % (name, bracket(members)))
    spaces = [c for c in range(0x80) if c in sets["SPACE"]] + [code for combo, code in codes.items() if "SPACE" in combo]
    f.write("\n/* The members of CLASS_SPACE, one by one. */\n")
    f.write('#define CLASS_SPACE_BYTES "%s"\n' % "".join("\\x%02x" % c for c in sorted(spaces)))
    f.write("""
/* First code point of a range << 8 | the class byte of the range, which ends where the next begins. */
static const uint32_t char_class_ranges[] = {
""")
    for i in range(0, len(table), 9):
        f.write("    " + " ".join("0x%x," % (c << 8 | code) for c, code in table[i:i + 9]) + "\n")
    f.write("};\n\n#endif\n")
print("%d sets of classes, %d ranges" % (len(codes), len(table)))
