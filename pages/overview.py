"""Where the experiment stands, and what to do next."""

from pruning.ui import overview

overview.show()
