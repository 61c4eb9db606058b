"""The authors' recipe: start, optimizer, density control and schedule as they published them.

Iinbor, Dou and Matusik, arXiv 2604.21984, with the constants of the configuration that they
released. It is here to compare with; docs/STUDY.md says what it brings, and where the paper leaves
something open.
"""
