"""The operator's commands: `main` names them, a module each does the work, `talk` is how they answer."""
