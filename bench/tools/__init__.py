"""Commands of their own: each module has ``add_arguments(parser)`` and ``run(arguments)``."""
