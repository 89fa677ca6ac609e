"""The process that verifies: reads (answer, key) pairs as JSON lines, writes a verdict for each. Started and killed by `pool`.

Its standard output belongs to the verdicts: what a verifier prints is sent to standard error.
"""

from __future__ import annotations

import json
import os
import sys

from pruning.sampling.verifiers import UnreadableKey, make


def main(spec: str) -> None:
    """Answer every line until standard input ends."""
    verdicts = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    verify = make(spec)
    print(json.dumps({"ready": True}), file=verdicts, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        verdict: dict[str, object]
        try:
            verdict = {"right": bool(verify(task["answer"], task["key"]))}
        except UnreadableKey as error:
            verdict = {"right": None, "why": f"key: {error}"}
        except Exception as error:  # a crash of the verifier says nothing about the answer
            verdict = {"right": None, "why": f"verifier: {type(error).__name__} {error}"[:200]}
        print(json.dumps(verdict), file=verdicts, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
