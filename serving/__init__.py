"""The site and the API that people use."""
