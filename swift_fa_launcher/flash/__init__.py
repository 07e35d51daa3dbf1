"""What flash attention is: implementations, wheels' names, what fits what, what is wrong with an installed one. Pure.

`implementations`, `hosts` and `symbols` import no other room, so that every room may ask them.
"""
