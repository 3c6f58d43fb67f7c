"""Examples that hypothesis draws, and shrinks."""
