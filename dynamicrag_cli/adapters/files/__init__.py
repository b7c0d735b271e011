"""JSON lines, journals, manifests, templates."""
