"""How a peer's checks are named on the command line, run and reported.

Each check is a function `check_NAME(env)`. What it prints is one line each: `ok NAME` or
`failed NAME: what was seen`; the exit status is 0 if all are ok.
"""
import argparse
import sys
import traceback


class Failure(Exception):
    """What a check saw instead of what it should have seen."""


def expect(condition, *words):
    """Raises `Failure` with these words unless `condition` holds."""
    if not condition:
        raise Failure(" ".join(str(word) for word in words))


def parser(text):
    """The arguments that all have: whom to ask and how."""
    made = argparse.ArgumentParser(description=text)
    made.add_argument("--port", type=int, required=True)
    made.add_argument("--name", default="app.test", help="host name, for SNI and authority")
    made.add_argument("--ca", help="file of the root that is believed; without: plaintext")
    made.add_argument("checks", nargs="+")
    return made


def run(functions, env):
    """Runs `env.checks`; `functions` are the module's names."""
    good = True
    for name in env.checks:
        function = functions.get("check_" + name)
        try:
            expect(function, "there is no such check")
            function(env)
            print("ok", name, flush=True)
        except Failure as failure:
            good = False
            print(f"failed {name}: {failure}", flush=True)
        except Exception as error:
            good = False
            lines = traceback.format_exception(error)
            print(lines[-2].strip(), file=sys.stderr)
            print(f"failed {name}: {type(error).__name__}: {error}", flush=True)
    return 0 if good else 1
