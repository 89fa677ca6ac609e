"""Shared parts of the dashboard's pages. Only this package, pages/ and app.py import Streamlit."""
