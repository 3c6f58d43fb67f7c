"""One file a device: plain formulas become loops over arrays (`cpu`)."""
