"""Missing packages, folders that cannot be written, full disks, Ctrl-C and kill: one clear line, and nothing lost."""
