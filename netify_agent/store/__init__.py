"""Changes to Redis and Redis to answers: the only package that knows a key name.

``layout`` names keys and fields, ``changes`` sums a batch up, ``write`` applies it, ``read`` answers.
"""
