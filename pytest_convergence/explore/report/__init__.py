"""A failing run as files: JSON, a page for the browser, a Mermaid diagram, a ShiViz log. Pure: text in, text out."""
