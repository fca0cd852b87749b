#!/usr/bin/env python3
"""Manual pages (man(7)) of what is described elsewhere, so that nothing is described twice.

    pages.py edgectl PROGRAM     edgectl(1), by what the program says of itself
    pages.py configuration FILE  edged.yaml(5), of docs/configuration.md, which the schema renders

Standard output gets the page. edged(8) is beside this file.
"""

import json
import re
import subprocess
import sys

# Said once, not with every verb.
COMMON = {"socket", "json", "version", "help"}


def text(words):
    """Words of a sentence, so that nothing of them is a request or an escape."""
    words = words.replace("\\", "\\e").replace("-", "\\-")
    words = words.replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha")
    words = words.replace("~", "\\(ti")
    words = "".join(c if ord(c) < 128 else f"\\[u{ord(c):04X}]" for c in words)
    return "\\&" + words if words.startswith((".", "'")) else words


def inline(words):
    """Markdown's `code` and **bold**."""
    parts = re.split(r"(`[^`]+`|\*\*.+?\*\*)", words)
    result = ""
    for part in parts:
        if part.startswith("`"):
            result += "\\fB" + text(part[1:-1]).removeprefix("\\&") + "\\fR"
        elif part.startswith("**"):
            result += "\\fB" + text(part[2:-2].replace("`", "")).removeprefix("\\&") + "\\fR"
        else:
            result += text(part).removeprefix("\\&")
    return "\\&" + result if result.startswith((".", "\\(aq")) else result


def header(name, section, summary):
    return [
        f'.TH {name.upper()} {section} "" "edged" "edged"',
        ".SH NAME",
        f"{text(name)} \\- {text(summary)}",
    ]


# edgectl(1)


def synopsis(argument):
    value = text(argument.get("valueName", ""))
    if argument["kind"] == "positional":
        words = f"\\fI{value.upper()}\\fR"
    else:
        name = argument["preferredName"]
        dash = "--" if name["kind"] == "long" else "-"
        words = f"\\fB{text(dash + name['name'])}\\fR"
        if argument["kind"] == "option":
            words += f" \\fI{value.upper()}\\fR"
    return f"[{words}]" if argument["isOptional"] else words


def is_own(argument):
    name = argument.get("preferredName", {}).get("name")
    return argument.get("shouldDisplay", True) and name not in COMMON


def term(argument):
    lines = [".TP", synopsis(argument).strip("[]")]
    words = argument.get("abstract", "")
    values = argument.get("allValues")
    default = argument.get("defaultValue")
    if values and not any(value in words for value in values):
        words += f" One of {', '.join(values)}."
    if default:
        words += f" Default: {default}."
    return lines + [text(words)]


def verbs(command, parents):
    name = " ".join(parents + [command["commandName"]])
    arguments = [a for a in command.get("arguments", []) if is_own(a)]
    commands = [c for c in command.get("subcommands", []) if c["commandName"] != "help"]
    lines = []
    if not commands:
        usage = " ".join(synopsis(a) for a in arguments)
        lines += [f".SS {text(name)} {usage}".rstrip()]
        lines += [text(command.get("abstract", ""))]
        if command.get("discussion"):
            lines += [".PP", text(command["discussion"])]
        for argument in arguments:
            lines += term(argument)
    for child in commands:
        lines += verbs(child, parents + [command["commandName"]])
    return lines


def edgectl(program):
    dump = subprocess.run(
        [program, "--experimental-dump-help"], check=True, capture_output=True).stdout
    root = json.loads(dump)["command"]
    lines = header("edgectl", 1, root["abstract"].rstrip(".").lower())
    lines += [
        ".SH SYNOPSIS",
        "\\fBedgectl\\fR [\\fB\\-\\-socket\\fR \\fIPATH\\fR] [\\fB\\-\\-json\\fR] "
        "\\fIVERB\\fR [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        "Asks the daemon over its admin socket, waits for the answer, and prints it.",
        ".SH OPTIONS",
        "Before or behind the verb:",
    ]
    for argument in root["arguments"]:
        if argument.get("preferredName", {}).get("name") in COMMON:
            lines += term(argument)
    lines += [".SH VERBS"]
    for command in root["subcommands"]:
        if command["commandName"] != "help":
            lines += verbs(command, [])
    codes = re.findall(r"(\d) ([^,.]+(?:, but[^,.]+)?)", root["discussion"])
    lines += [".SH EXIT STATUS"]
    for code, words in codes:
        lines += [".TP", f"\\fB{code}\\fR", text(words.strip())]
    lines += [
        ".SH ENVIRONMENT",
        ".TP",
        "\\fBEDGED_SOCKET\\fR",
        "The admin socket, if it is not said with \\fB\\-\\-socket\\fR.",
        ".SH FILES",
        ".TP",
        "\\fI/run/edged/admin.sock\\fR",
        "The admin socket, if it is not said at all.",
        ".SH SEE ALSO",
        "\\fBedged\\fR(8), \\fBedged.yaml\\fR(5)",
    ]
    return lines


# edged.yaml(5)


def configuration(path):
    lines = header("edged.yaml", 5, "configuration of the edge load balancer edged")
    lines += [".SH DESCRIPTION"]
    paragraph, is_list = [], False

    def flush():
        if paragraph:
            lines.append(inline(" ".join(paragraph)))
            paragraph.clear()

    with open(path, encoding="utf-8") as file:
        source = [line.rstrip("\n") for line in file]
    for line in source[1:]:
        if line.startswith("<!--"):
            continue
        if line.startswith("### "):
            flush()
            lines += [f".SS {inline(line[4:].strip('`'))}"]
            is_list = False
        elif line.startswith("## "):
            flush()
            lines += [f".SH {inline(line[3:].upper())}"]
            is_list = False
        elif line.startswith("- "):
            flush()
            lines += [".IP \\(bu 2"]
            paragraph.append(line[2:])
            is_list = True
        elif not line:
            flush()
            # Nothing stands between a heading and its text.
            if not lines[-1].startswith((".SH", ".SS", ".PP")):
                lines.append(".PP")
            is_list = False
        else:
            paragraph.append(line.strip())
    flush()
    # Paragraphs that nothing follows.
    kept = [
        line for line, after in zip(lines, lines[1:] + [""])
        if line != ".PP" or not after.startswith((".SH", ".SS", ".IP"))
    ]
    while kept[-1] == ".PP":
        kept.pop()
    return kept + [".SH SEE ALSO", "\\fBedged\\fR(8), \\fBedgectl\\fR(1)"]


def main():
    match sys.argv[1:]:
        case ["edgectl", program]:
            lines = edgectl(program)
        case ["configuration", path]:
            lines = configuration(path)
        case _:
            sys.exit(__doc__)
    print("\n".join(lines))


main()
