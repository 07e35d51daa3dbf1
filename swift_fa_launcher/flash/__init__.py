"""What flash attention is: implementations, wheels' names, what fits what. Pure."""
