"""The engines: bare loops over raw arrays.  `contract` says what a kernel is."""
