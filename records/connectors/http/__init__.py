"""What all sources behind an API share: settings, a read-only client, and the local mirror.

Owns tokens, retries, limits and the sync state of a source; refuses unencrypted addresses,
redirects and requests that would write. Start with `mirror.py`, then `client.py` and `settings.py`.
"""
