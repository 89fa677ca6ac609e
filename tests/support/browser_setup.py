"""Make sure that Chromium is there for the browser tests: installed through apt where that is possible, else said."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""The first without the window around the page, which takes a quarter of a test's processor time."""


def find() -> str | None:
    """The path of a Chromium, or None. WINNOW_CHROMIUM names one elsewhere."""
    return os.environ.get("WINNOW_CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> None:
    """Install Chromium with apt when it is missing and this is a Debian or Ubuntu we may change."""
    if find():
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("Installing Chromium for the browser tests ...", flush=True)
        subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
        for package in NAMES[:2]:  # Debian has both
            if not find():
                subprocess.run(["apt-get", "install", "-y", "-q", package], check=False, stdout=subprocess.DEVNULL)
    if not find():
        print(
            "No Chromium: the browser tests will be skipped. Install it (Debian: apt-get install chromium) or set WINNOW_CHROMIUM.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
