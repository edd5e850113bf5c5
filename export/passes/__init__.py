"""Graph passes, a file each with its rules in its docstring.

`portable` are those of every graph, `fusion` those for ONNX Runtime's own operators, `precision` those of a profile's
types, and `reading` what they have in common. `lists` says which graph goes through which.
"""
