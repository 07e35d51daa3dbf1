"""From YAML files and the command line to one resolved config in which every value knows where it came from."""
