"""What `nbgrad train` and `nbgrad predict` do: the models, the loop with its checkpoints, results and
pictures.
"""
