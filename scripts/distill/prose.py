#!/usr/bin/env python3
# prose.py - openly licensed English prose that train.py may learn from, out of public repositories
#
#     scripts/distill/prose.py [--from FOLDER] OUT
#
# Reads the repositories of prose.tsv, each at the commit named there, and writes OUT/OWNER+NAME.jsonl, a line a document,
# {"text": 1,000 to 8,000 characters}, and OUT/LICENCES: repository, licence, where that is stated, commit. git fetches only
# the files that are read; --from takes bare repositories out of FOLDER instead, FOLDER/OWNER+NAME each. The same commits give
# the same bytes.
#
# SPDX-License-Identifier: PostgreSQL
import argparse
import collections
import html
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unicodedata
import zipfile

SHORTEST, USUAL, LONGEST = 1000, 5000, 8000     # characters of a document

Source = collections.namedtuple("Source", "repository commit files markup limit licence stated")


# Markup to text: paragraphs between blank lines.

def tidy(text):
    """Each paragraph on a line, list items on lines of their own, and no addresses of pages."""
    text = re.sub(r"[ \t\u00a0\u200b\ufeff]+", " ", text.replace("\u2060", ""))
    text = re.sub(r" ?\n ?", "\n", text)
    text = re.sub(r"(?<=[^\n])\n(?!\n|- |\d+\. )", " ", text)
    text = re.sub(r" ?\((?:see:? ?)?(?:https?://[^\s)]*)?\)(?!\w)|https?://\S*[^\s.,;:)]", "", text)
    text = re.sub(r"(?m)^(- ?|\W{1,3})$| +$", "", text)
    text = re.sub(r" +([,.;:)])(?=\s|$)", r"\1", re.sub(r"\n\s*\n", "\n\n", text))
    return unicodedata.normalize("NFC", text.strip())


def markup(text, dropped, blocks):
    """XML or HTML without its tags, where elements in dropped go with all they hold, and those in blocks begin a line."""
    text = re.sub(r"(?s)<!--.*?-->|<\?.*?\?>", "", text)
    text = re.sub(rf"(?s)<({dropped})\b[^>]*(?<!/)>.*?</\1>", "", text)
    text = re.sub(r"</?(?:li|item)\b[^>]*>", lambda tag: "\n" if "/" in tag[0][:2] else "\n- ", text)
    text = re.sub(r"<br\b[^>]*>", "\n", text)
    return html.unescape(re.sub(r"</?[A-Za-z][^<>]*>", "", re.sub(rf"</?(?:{blocks})\b[^>]*>", "\n\n", text)))


def page(text):
    """HTML: bits of it stand in Markdown, too, whose line breaks count."""
    return markup(text, "head|script|style|figure|table|svg|pre|iframe|details|form|nav",
                  "p|h[1-6]|div|section|article|blockquote|ul|ol|dl|dt|dd|hr|header|footer|aside")


def markdown(text):
    """With what comes round it in web sites: a head of settings, Liquid and Hugo's short codes, HTML."""
    text = re.sub(r"(?s)\A\ufeff?\s*(---|\+\+\+)\n.*?\n\1[ ]*(\n|\Z)", "", text.replace("\r", ""))
    text = re.sub(r"(?ms)^[ >]*(```+|~~~+).*?^[ >]*\1[ ]*$", "", text)
    text = re.sub(r"(?s)\{%-? *(highlight|raw|comment|capture)\b.*?\{%-? *end\1 *-?%\}", "", text)
    text = re.sub(r"(?s)\{\{.*?\}\}|\{%.*?%\}|\{[:#.][^}\n]*\}", "", text)
    text = re.sub(r"(?m)^(import|export) .*|^(    |\t)(?![ \t]*([-*+<]|\d+\.))\S.*", "", text)
    text = re.sub(r"(?m)^[ >]*\|.*|^.* \| .*|^\s*:::.*", "", text)
    text = re.sub(r"(`+)([^`\n]+)\1", lambda code: html.escape(code[2], quote=False), text)
    text = re.sub(r"!\[[^\]]*\](\([^)]*\)|\[[^\]]*\])", "", text)
    names = set(re.findall(r"(?m)^ {0,3}\[([^\]\n]+)\]:", text))
    text = re.sub(r"(?m)^ {0,3}\[[^\]\n]+\]:.*$|\[\^[^\]\n]+\]|<(https?|mailto):[^>]*>", "", text)
    to = r"\(\s*[^()\s]*(?:\([^()]*\)[^()\s]*)*(?:\s[^()]*)?\)|\[[^\]]*\]"
    text = re.sub(rf"\[((?:[^\[\]]|\[[^\[\]]*\])*)\](?:{to})", r"\1", text)
    text = re.sub(r"\[([^\[\]\n]+)\]", lambda link: link[1] if link[1] in names else link[0], text)
    text = re.sub(r"(?m)^[ >]*(?:[-*] )?(#{1,6})[ ]*(.*?)[ #]*$", r"\n\2\n", text)
    text = re.sub(r"(?m)^[ >]*([-=*_] ?){3,}$", "\n", re.sub(r"(?m)^> ?", "", text))
    text = re.sub(r"(?m)^[ ]*[-*+•][ ]+(\[[ xX]\] )?", "- ", text).replace("**", "")
    text = re.sub(r"(?<![\w*])([*_]{1,2})(?=\S)((?:[^*\n]|\n(?!\n))+?)(?<=\S)\1(?![\w*])", r"\2", text)
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", page(text))


def recipe(text):
    title = re.search(r'(?m)^title: *"?([^"\n]*)', text)
    return (title[1] + "\n\n" if title else "") + markdown(text)


def textbook(text):
    """OpenStax's CNXML, without pictures, tables, exercises and references."""
    asked = "references|questions|review|readings|resources|critical-thinking|key-terms"
    text = re.sub(r'<note class="reference".*?</note>', "", re.sub(r"\s+", " ", text))
    text = re.sub(rf'<section\b[^>]*class="[^"]*({asked})[^"]*".*?</section>', "", text)
    return markup(text, "metadata|footnote|figure|table|media|exercise|equation|glossary|m:math",
                  "para|title|section|note|list|content|document|quote|example")


def ebook(text):
    """Standard Ebooks' XHTML, without marks of notes."""
    text = re.sub(r"(?s)<a [^>]*noteref[^>]*>.*?</a>", "", re.sub(r"\s+", " ", text))
    return page(text)


def gutenberg(text):
    text = text.replace("\r", "")
    text = re.sub(r"(?s)\A.*?\*\*\* ?START OF.*?\*\*\*\n(\n*Produced by.*?\n\n)?|\*\*\* ?END OF.*", "", text)
    text = re.sub(r"(?s)End of (the )?Project Gutenberg.*", "", text)
    text = re.sub(r"(?s)\[(Illustration|Transcriber|Footnote|Pg)[^\]]*\]", "", text)
    return re.sub(r"\b_|_\b", "", re.sub(r"(?m)^[ *]+$", "", text))


def speeches(data):
    """A ZIP file of texts, with a paragraph a line where no blank lines part them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".txt"):
                text = decode(archive.read(name)).replace("\r", "")
                yield text if text.count("\n\n") > 5 else text.replace("\n", "\n\n")


def country(text):
    """What the Factbook says in sentences, each with what it is about."""
    def sentences(value, about):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from sentences(inner, about if key == "text" else key)
        elif isinstance(value, str):
            said = tidy(page(value))
            if len(said) > 220 and ". " in said:
                yield about + ". " + said
    return "\n\n".join(sentences(json.loads(text), ""))


KINDS = {kind.__name__: kind for kind in (markdown, recipe, textbook, ebook, gutenberg, country)}


# Reading, cutting and writing.

def sources():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "prose.tsv"), encoding="utf-8") as file:
        for line in file:
            parts = line.rstrip("\n").split("\t")
            if len(parts) == 5 and not line.startswith("#"):
                alike = parts
            elif len(parts) == 2:
                yield Source(*parts, *alike)


def git(source, repository, *command, data=None):
    done = subprocess.run(["git", "--git-dir=" + repository, *command], input=data, capture_output=True,
                          env={**os.environ, "GIT_TERMINAL_PROMPT": "0"})
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        sys.exit(f"prose.py: cannot read {source.repository} at {source.commit}:\n{said}")
    return done.stdout


def files(source, repository, fetched):
    """The contents of its files, by name. One fetch gets all of them: git would ask for each on its own."""
    listed = git(source, repository, "ls-tree", "-r", "-z", source.commit).decode(errors="replace").split("\0")
    entries = [entry.split("\t") for entry in listed if entry and not entry.startswith(("120000", "160000"))]
    ids = "".join(about.split()[2] + "\n" for about, name in entries if re.fullmatch(source.files, name)).encode()
    if not ids:
        sys.exit(f"prose.py: no {source.files} in {source.repository} at {source.commit}")
    if fetched:
        git(source, repository, "fetch", "-q", "--no-tags", "--filter=blob:none", "--stdin", "origin", data=ids)
    found = io.BytesIO(git(source, repository, "cat-file", "--batch", data=ids))
    while head := found.readline().split():
        if head[-1] == b"missing":
            sys.exit(f"prose.py: {source.repository} lacks {head[0].decode()}")
        yield found.read(int(head[2]))
        found.readline()


def read(source, folder):
    if folder:
        yield from files(source, os.path.join(folder, source.repository.replace("/", "+")), False)
        return
    with tempfile.TemporaryDirectory() as repository:
        git(source, repository, "init", "-q", "--bare")
        git(source, repository, "remote", "add", "origin", "https://github.com/" + source.repository)
        git(source, repository, "fetch", "-q", "--depth", "1", "--no-tags", "--filter=blob:none", "origin", source.commit)
        yield from files(source, repository, True)


def decode(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "ignore")


def texts(source, folder):
    """Clean texts; recipes are short, so that several make one."""
    begun = ""
    for data in read(source, folder):
        for text in speeches(data) if source.markup == "speeches" else [KINDS[source.markup](decode(data))]:
            begun += tidy(text)
            if source.markup == "recipe" and len(begun) < 1.5 * SHORTEST:
                begun += "\n\n"
                continue
            yield begun
            begun = ""


def pieces(text):
    """Whole, or cut where paragraphs end; within one where it is too long."""
    if len(text) <= LONGEST:
        return [text]
    text = re.sub(r"([^\n]{4000,6000}[.!?][”\"]?) (?=[^\n]{2000})", r"\1\n\n", text)
    found, piece = [], ""
    for paragraph in text.split("\n\n"):
        if len(piece) >= USUAL or len(piece) + len(paragraph) + 2 > LONGEST:
            found.append(piece)
            piece = ""
        piece += ("\n\n" if piece else "") + paragraph
    return found + [piece]


def is_prose(text):
    """English, and not mostly numbers and names."""
    words = text.lower().split()
    common = sum(word in ("the", "of", "and", "to", "in", "with", "for", "is", "that") for word in words)
    letters = sum(character.isalpha() or character == " " for character in text)
    return SHORTEST <= len(text) <= LONGEST and common > 0.08 * len(words) and letters > 0.85 * len(text)


def write(source, folder, out, seen):
    size = 0
    path = os.path.join(out, source.repository.replace("/", "+") + ".jsonl")
    with open(path, "w", encoding="utf-8") as file:
        for text in (piece for text in texts(source, folder) for piece in pieces(text) if is_prose(piece)):
            letters = re.sub(r"\W+", "", text.lower())
            if size >= float(source.limit) * 1e6:
                break
            if letters[:400] in seen or letters[-300:] in seen:
                continue
            seen.update((letters[:400], letters[-300:]))
            size += file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    if not size:
        sys.exit("prose.py: no prose in " + source.repository)
    print(f"{size:9} {source.repository}", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Openly licensed English prose as lines of JSON.")
    parser.add_argument("--from", dest="folder", help="a folder with bare repositories OWNER+NAME")
    parser.add_argument("out", help="the folder to write to")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    seen = set()
    for source in sources():
        write(source, arguments.folder, arguments.out, seen)
    with open(os.path.join(arguments.out, "LICENCES"), "w", encoding="utf-8") as file:
        file.writelines(f"{source.repository}\t{source.licence}\t{source.stated}\t{source.commit}\n" for source in sources())


if __name__ == "__main__":
    main()
