#!/usr/bin/env python3
"""Every function of the C headers says what it takes and gives, who owns it, how it fails, from where it may be called and
where it comes from: as far as that can be found in its comment, in the one that it refers to, and in its header's first one."""
import pathlib
import re
import unittest

INCLUDE = pathlib.Path(__file__).resolve().parents[2] / "include" / "warpkem"
HEADERS = sorted(path for path in INCLUDE.glob("*.h") if path.name != "version.h")
# What implements an algorithm of FIPS 203, and which.
SOURCES = {"warpkem_keygen": 19, "warpkem_keygen_derand": 16, "warpkem_encaps": 20, "warpkem_encaps_derand": 17,
           "warpkem_decaps": 21, "warpkem_encaps_prepared": 20, "warpkem_encaps_prepared_derand": 17,
           "warpkem_decaps_prepared": 21, "warpkem_check_ek": "7.2", "warpkem_check_dk": "7.3", "warpkem_check_keys": "7.2"}
STATUSES = set(re.findall(r"#define WARPKEM_(\w+) \d+u", (INCLUDE / "warpkem.h").read_text().split("typedef uint32_t warpkem_status")[1]
                          .split("How a decapsulation key")[0]))


class Function:
    def __init__(self, header, paragraph, declaration, before):
        self.header = header
        self.own = " ".join(line.strip().lstrip("/* ") for line in paragraph)
        self.declaration = " ".join(declaration.split())
        self.name = re.search(r"(warpkem_\w+)\(", self.declaration)[1]
        self.returns = re.sub(r"WARPKEM_API|WARPKEM_MUST_CHECK", "", self.declaration.split(self.name)[0]).strip()
        inside = self.declaration[self.declaration.index("(") + 1:self.declaration.rindex(")")]
        self.parameters = [re.search(r"(\w+)$", one.strip())[1] for one in inside.split(",") if one.strip() != "void"]
        self.before = before  # the function before it, which "the same" is about

    def text(self, functions, seen=()):
        """Its comment, and those that it refers to."""
        text = self.own
        if re.match(r"The same\b", text) and self.before:
            text += " " + self.before.text(functions, (*seen, self.name))
        for name in re.findall(r"\b(?:[Aa]s|see|takes `m` as) (warpkem_\w+)\(\)", self.own):
            if name in functions and name not in (*seen, self.name):
                text += " " + functions[name].text(functions, (*seen, self.name))
        return text


def functions_of(header):
    """A comment is about the declarations up to the next blank line."""
    found, comment, before = [], [], None
    text = header.read_text()
    for block in re.split(r"\n\s*\n", text):
        comment = [line for line in block.splitlines() if line.startswith("///")]
        code = re.sub(r"/\*.*?\*/", "", "\n".join(line for line in block.splitlines() if not line.startswith("///")), flags=re.DOTALL)
        trailing = re.findall(r"/\* (.*?) \*/", block)
        of_block = []
        for declaration in re.findall(r"WARPKEM_API[^;{]*?\([^;]*\);", code):
            of_block.append(Function(header, comment or trailing, declaration, before))
        found += of_block
        before = of_block[0] if of_block else before
    return found


ALL = [function for header in HEADERS for function in functions_of(header)]
BY_NAME = {function.name: function for function in ALL}
INTRODUCTIONS = {header: " ".join(header.read_text().split("*/")[0].replace("*", " ").split()) for header in HEADERS}


class ApiDocs(unittest.TestCase):
    def expect(self, condition):
        """condition(function, text) of each function: True, or what is wrong."""
        wrong = {f.name: what for f in ALL if (what := condition(f, f.text(BY_NAME))) is not True}
        self.assertEqual(wrong, {})

    def test_all_are_found(self):
        listed = pathlib.Path(__file__).resolve().parents[1] / "install" / "symbols.txt"
        self.assertEqual({name for name in listed.read_text().split() if name.startswith("warpkem_")}, set(BY_NAME))

    def test_every_function_has_a_comment(self):
        self.expect(lambda function, _: bool(function.own.strip()))

    def test_every_argument_is_told(self):
        """By its name, in its own comment or where that leads; or it is of those that warpkem.h explains once for all."""
        common = {"engine", "algorithm", "count", "statuses", "failed", "dk_format", "ek", "dk", "c", "K", "m", "keys", "index", "operation",
                  "queue", "capacity", "batch"}
        self.expect(lambda function, text: [name for name in function.parameters if name not in common
                                            and not re.search(rf"\b{name}\b", text)] or True)

    def test_what_is_told_of_arguments_is_of_arguments(self):
        for function in ALL:
            for names in re.findall(r"@param ((?:\w+, )*\w+)", function.own):
                for name in names.split(", "):
                    with self.subTest(function=function.name):
                        self.assertIn(name, [p for one in ALL if one.own == function.own for p in one.parameters])

    def test_shapes(self):
        """Arrays of records have a count, which the comment says is of what."""
        self.expect(lambda function, text: not re.search(r"\bwarpkem_(in|out)\b", function.declaration) or
                    ("count" in function.parameters and bool(re.search(r"`count`|item", text))))

    def test_failures(self):
        """Whoever returns a status says which; every status that is named exists."""
        def names_statuses(function, text):
            if function.returns != "warpkem_status":
                return True
            return any(word in STATUSES for word in re.findall(r"\b[A-Z][A-Z_]{2,}\b", text))
        self.expect(names_statuses)
        constants = set(re.findall(r"#define WARPKEM_(\w+)", "".join(header.read_text() for header in HEADERS)))
        for function in ALL:
            for clause in re.findall(r"@return (.*)", function.own):
                for word in re.findall(r"(?:^|[.;,] )([A-Z_]{2,})(?=[:;,.]| or)", clause):
                    with self.subTest(function=function.name):
                        self.assertIn(word.removeprefix("WARPKEM_"), constants)

    def test_threads_and_ownership(self):
        """Each header says from which threads its calls may come; warpkem.h at its beginning who owns what, and whoever
        gives a pointer or takes one away how long it lives."""
        for header in HEADERS:
            self.assertRegex(header.read_text(), r"[Tt]hread-safe|[Aa]ny number of threads", header.name)
        for word in "borrows", "blocks", "bytes":
            self.assertIn(word, INTRODUCTIONS[INCLUDE / "warpkem.h"])
        lives = r"[Ll]ives|[Vv]alid|NULL|reference|[Ff]rees|outlives|[Oo]wn|Never|for ever"
        self.expect(lambda function, text: bool(re.search(lives, text)) or not (
            function.returns.endswith("*") or re.search(r"_(new|free|retain|release|alloc)$", function.name)))

    def test_sources(self):
        for name, source in SOURCES.items():
            with self.subTest(function=name):
                text = BY_NAME[name].text(BY_NAME)
                self.assertIn("FIPS 203", text)
                self.assertRegex(text, rf"Algorithm {source}\b" if isinstance(source, int) else re.escape(source))


if __name__ == "__main__":
    unittest.main(verbosity=2)
