"""The HTTP service: an API, a page to paint on, and the queue between them and the model.

Nothing outside of this package knows of HTTP. Importing :mod:`wavepaint.runtime.service.app` needs the serve extra.
"""
