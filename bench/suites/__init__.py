"""The suites: each module has ``add_arguments(parser)`` and ``jobs(session, arguments)``, whose jobs return records."""
