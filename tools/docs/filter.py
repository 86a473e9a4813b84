#!/usr/bin/env python3
"""Doxygen's input filter: makes the headers' plain comments into Doxygen's, so that the headers need no marks.

- A file's first comment is about the file. A comment on lines of its own is about what follows; one behind code is about
  that code.
- A comment is about every declaration up to the next blank line, so what two functions share is written once.
- A line of dashes in a comment begins a section.
"""
import re
import sys

SECTION = re.compile(r"^/\* -{4} (.*?) -+ \*/$")


def statements(lines):
    """Comments, code and blank lines, in order: (kind, lines). A declaration over several lines, or in braces, is one."""
    i = 0
    while i < len(lines):
        line, kind, end = lines[i], "code", i + 1
        if not line.strip():
            kind = "blank"
        elif SECTION.match(line):
            kind = "section"
        elif line.lstrip().startswith("///") or re.match(r"\s*// ", line):
            kind = "comment"
            while end < len(lines) and re.match(r"\s*//", lines[end]):
                end += 1
        elif line.lstrip().startswith("/*"):
            kind = "comment"
            while "*/" not in lines[end - 1]:
                end += 1
        yield kind, lines[i:end]
        i = end


def as_doc(lines):
    first = lines[0]
    if first.lstrip().startswith("/*"):
        return [first.replace("/*", "/**", 1), *lines[1:]]
    return [re.sub(r"^(\s*)///?", r"\1///", line) for line in lines]


def trailing(line):
    """A comment behind code is about that code."""
    line = re.sub(r"(\S\s+)/\* ", r"\1/**< ", line, count=1)
    return re.sub(r"([;{}),]\s+)// ", r"\1///< ", line, count=1) if not line.lstrip().startswith("//") else line


def filtered(text):
    out, depth, is_group, doc, is_first = [], 0, False, None, True
    in_statement = in_trailing = False
    for kind, lines in statements(text.splitlines()):
        if in_trailing:  # the rest of a comment behind code
            out += lines
            in_trailing = "*/" not in lines[-1]
            continue
        if kind == "section":
            out += ["///@}"] * is_group + [f"/// @name {SECTION.match(lines[0])[1]}", "///@{"]
            is_group, doc = True, None
        elif kind == "blank":
            out.append("")
            doc = None if depth == 0 else doc
        elif kind == "comment":
            made = as_doc(lines)
            if is_first:
                made[0] = made[0].replace("/**", "/** @file\n", 1).replace("///", "/// @file\n///", 1)
                out += "\n".join(made).split("\n")
            elif depth == 0 and not in_statement:
                doc = made
                out += made
            else:
                out += made
            is_first = False
        else:
            line = lines[0]
            is_first = is_first and line.startswith("#")
            is_preprocessor = line.startswith("#")
            if line.startswith("#ifdef __cplusplus") and is_group and "}" in text[text.rfind(line):]:
                out.append("///@}")
                is_group = False
            if is_preprocessor and not line.startswith("#define"):
                out.append(line)
                continue
            begins = depth == 0 and not in_statement
            if begins and doc is not None and out and out[-1] not in (doc[-1],) and not is_preprocessor:
                out += doc  # shared with the declaration before
            code = re.sub(r"/\*.*|//.*", "", line).rstrip()
            out.append(trailing(line))
            in_trailing = "/*" in line and "*/" not in line
            if not re.match(r'extern "C" {|namespace \w+ {', code):
                depth = max(depth + code.count("{") - code.count("}"), 0)
            if not is_preprocessor:
                in_statement = bool(code) and not (code.endswith((";", "}", "{")) and depth == 0)
    return "\n".join(out + ["///@}"] * is_group) + "\n"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(filtered(file.read()))
