"""What the slopes of a function are: differences with error bars, in wider numbers, at kinks, of many elements."""
