"""fastconv in other libraries' places: opt-in, imported on request."""
