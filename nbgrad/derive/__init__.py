"""From a user's formula of numbers to its derivative: plain Python in, plain Python out.

`parse` reads the function's source into a `program`, `tangents` and `reverse` make programs of its derivatives by the
`rules`, `write` turns a program into a function again. Nothing here knows an array or a device.
"""
