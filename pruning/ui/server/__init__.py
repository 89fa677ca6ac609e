"""The server behind the dashboard: host and origin checks, signed links, downloads, and how it starts."""
