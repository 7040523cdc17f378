"""Where the command ``nextchar-train`` begins: before the imports that take long or may be missing."""

import os
import sys


def main() -> None:
    """Runs the command, or says in one line which extra brings what is missing."""
    try:
        from .options import read

        arguments = read(sys.argv[1:])
        from .command import run
    except ModuleNotFoundError as error:
        remedy = "pip install 'nextchar[training]' brings it"
        print(f"nextchar-train: error: {error.name} is not installed; {remedy}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    code = run(arguments)
    if code == 0 and os.environ.get("RANK", "0") != "0":
        # One of several processes that trained beside rank 0 has nothing left to do or to tell. Its threads of
        # torch.distributed were seen to abort it while the interpreter ended, which torchrun takes for a failure.
        os._exit(0)
    sys.exit(code)
