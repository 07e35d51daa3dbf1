"""From a `swift sft` script, an ms-swift YAML, an args.json or a log to a config. Nothing is executed."""
