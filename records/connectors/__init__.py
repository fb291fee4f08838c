"""One file a source. Each reads a folder and gives canonical rows to a `Sink`; none writes toward
the district.
"""
