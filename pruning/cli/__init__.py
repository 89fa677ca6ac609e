"""The command line: each verb parses, makes one call into the library, and prints.

Exit codes: 0 done, 1 failed (one sentence on stderr), 2 wrong usage, 130 cancelled.
"""

import sys

# The order of the imports is the order of the verbs in --help.
# isort: off
from pruning.cli import whole as whole
from pruning.cli import scoring as scoring
from pruning.cli import rollouts as rollouts
from pruning.cli import looking as looking
from pruning.cli import fitting as fitting
from pruning.cli import working as working
from pruning.cli import reading as reading
from pruning.cli import groups as groups
from pruning.cli import sensitivity as sensitivity
from pruning.cli import narrowing as narrowing
from pruning.cli import dashboard as dashboard

# isort: on
from pruning.cli.base import Unbroken, program, say
from pruning.cli.base import app as app
from pruning.cli.base import one_sentence as one_sentence
from pruning.errors import UsageError
from pruning.files import keep_private


def main() -> None:
    """Run the command line. An error the user can fix is one sentence on stderr; a closed pipe ends the printing, not the work."""
    sys.stdout, sys.stderr = Unbroken(sys.stdout), Unbroken(sys.stderr)
    try:
        keep_private()
    except UsageError as error:
        say(f"Error: {error}", error=True)
        sys.exit(2)
    app(prog_name=program())
