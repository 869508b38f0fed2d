"""An office and the cloud it speaks to, for tests of the agent: a strict bridge, a system of books, a network."""
