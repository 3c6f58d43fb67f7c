"""The plug-in for the CPU: plain formulas become loops over arrays."""
